"""The widgets that predict, number cells, and open files."""

from pathlib import Path
from typing import Any, Literal, get_args

from magicgui.widgets import CheckBox, ComboBox, FileEdit, LineEdit
from napari.layers import Image
from napari.viewer import Viewer

from sfseg import __version__
from sfseg.config import TestTimeAugmentation
from sfseg.errors import OptionError
from sfseg.models.weights_files import shipped_weights
from sfseg.napari_plugin import work
from sfseg.napari_plugin.fields import (
    add_layer,
    choose_layer,
    chosen,
    chosen_section,
    make_sections,
    make_threshold,
)
from sfseg.napari_plugin.geometry import pixel_size_of, place_of
from sfseg.napari_plugin.panel import Call, Panel
from sfseg.napari_plugin.reader import LayerData, read_layers
from sfseg.types import AnyArray, Progress, Rescale, describe_shape, format_count, parse_pixel_size

_OWN = "my own weights"
_DEVICES = ("auto", "cpu", "cuda", "mps")
Output = Literal["probability", "segments"]


class PredictWidget(Panel):
    """Predict the membranes of a stack with a network."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.image = choose_layer("image", "The grey values.", Image)
        self.model = ComboBox(
            label="model",
            choices=[*shipped_weights(), _OWN],
            tooltip="The network: shipped with sfseg, or trained by you.",
        )
        self.weights = FileEdit(
            label="weights",
            filter="*.safetensors",
            tooltip="A weights file, or the folder of a training run.",
            visible=False,
        )
        self.device = ComboBox(
            label="device", choices=_DEVICES, tooltip="Where it runs; auto takes a GPU if it can."
        )
        self.tta = ComboBox(
            label="tta",
            choices=get_args(TestTimeAugmentation),
            tooltip="Mean over 4 flips or all 8 orientations: better, 4 or 8 times slower.",
        )
        self.pixel_size = LineEdit(
            label="pixel size",
            tooltip="Side of a pixel in nm, or Y,X as in 4,5. Empty: as in the training data.",
        )
        self.rescale = ComboBox(
            label="rescale",
            choices=get_args(Rescale),
            tooltip="Resample for the network, where the pixel size differs from its own.",
        )
        self.invert_image = CheckBox(
            label="invert image", tooltip="Swap dark and bright, for bright membranes."
        )
        self.close_gaps = CheckBox(
            label="close gaps", tooltip="Close short gaps in membranes, so that fewer cells merge."
        )
        self.output = ComboBox(
            label="output",
            choices=get_args(Output),
            tooltip="Probability of being inside a cell, or numbered cells of each section.",
        )
        self.threshold = make_threshold()
        self.threshold.visible = False
        self.sections = make_sections()
        fields = [
            self.image,
            self.model,
            self.weights,
            self.output,
            self.threshold,
            self.sections,
            self.tta,
            self.pixel_size,
            self.rescale,
            self.invert_image,
            self.close_gaps,
            self.device,
        ]
        super().__init__(fields, "Predict")
        self.image.changed.connect(self._fill_in_pixel_size)
        self.model.changed.connect(self._show_fields)
        self.output.changed.connect(self._show_fields)
        self._source: tuple[Any, int | None] = (None, None)
        self._fill_in_pixel_size()

    def _fill_in_pixel_size(self) -> None:
        """Take the pixel size of the layer that was chosen."""
        layer = self.image.value
        size = None if layer is None else pixel_size_of(layer)
        sides = () if size is None else size[:1] if size[0] == size[1] else size
        self.pixel_size.value = ",".join(f"{side:.10g}" for side in sides)

    def _show_fields(self) -> None:
        """Show the fields that count for the model and the output."""
        self.weights.visible = self.model.value == _OWN
        self.threshold.visible = self.output.value == "segments"

    def choices(self) -> work.PredictChoices:
        """Read the fields."""
        own = self.model.value == _OWN
        if own and not self.weights.line_edit.value.strip():
            raise OptionError("weights: no file is chosen", hint="choose a file of weights")
        return work.PredictChoices(
            model=self.weights.line_edit.value.strip() if own else self.model.value,
            device=self.device.value,
            tta=self.tta.value,
            close_gaps=self.close_gaps.value,
            invert_image=self.invert_image.value,
            pixel_size_nm=parse_pixel_size(self.pixel_size.value.strip() or None),
            rescale=self.rescale.value,
        )

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the prediction."""
        layer, choices = chosen(self.image), self.choices()
        section = chosen_section(self.sections, layer, self._viewer)
        pixels = work.pixels_of(layer, section)
        output, threshold = self.output.value, self.threshold.value

        def predict(progress: Progress) -> LayerData:
            data: AnyArray = work.predict_pixels(pixels, choices, progress)
            settings: dict[str, Any] = place_of(layer, section)
            settings["metadata"] = {"sfseg": {"version": __version__, **vars(choices)}}
            if output == "segments":
                data = work.number_cells(data, threshold=threshold, name=layer.name)
                return data, {"name": f"{layer.name} segments", **settings}, "labels"
            settings["contrast_limits"] = (0.0, 1.0)
            return data, {"name": f"{layer.name} map", **settings}, "image"

        return predict, f"predicting {layer.name} ..."

    def finish(self, result: LayerData) -> None:
        """Add the map or the segments."""
        add_layer(self._viewer, *result)
        self.add(describe_result(result))


def describe_result(result: LayerData) -> str:
    """Say what was made, and how much of it is inside cells."""
    pixels, settings, kind = result
    shape = (1, *pixels.shape)[-3:]
    found = f"{settings['name']}: {describe_shape(shape)}"
    if kind == "labels":
        return f"{found}, {format_count(int(pixels.max()), 'cell')}"
    return f"{found}, {pixels.mean(dtype=float):.0%} inside cells"


class SegmentsWidget(Panel):
    """Number the cells of each section of a map."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.map = choose_layer("map", "Probability of being inside a cell.", Image)
        self.threshold = make_threshold()
        self.close_gaps = CheckBox(label="close gaps", tooltip="Close short gaps in membranes.")
        self.sections = make_sections()
        fields = [self.map, self.threshold, self.close_gaps, self.sections]
        super().__init__(fields, "Number cells")

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the numbering."""
        layer = chosen(self.map)
        section = chosen_section(self.sections, layer, self._viewer)
        pixels = work.pixels_of(layer, section)
        threshold, close_gaps = self.threshold.value, self.close_gaps.value

        def number(progress: Progress) -> LayerData:
            segments = work.number_cells(
                pixels,
                threshold=threshold,
                close_gaps=close_gaps,
                name=layer.name,
                progress=progress,
            )
            name = f"{layer.name.removesuffix(' map')} segments"
            settings = {"name": name, **place_of(layer, section)}
            return segments, settings, "labels"

        return number, f"numbering the cells of {layer.name} ..."

    def finish(self, result: LayerData) -> None:
        """Add the segments."""
        add_layer(self._viewer, *result)
        self.add(describe_result(result))


class OpenWidget(Panel):
    """Open a stack with what its file does not say: axes, the array, that it is labels."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.file = FileEdit(
            label="file",
            tooltip="A file or folder; file.h5:/array; or a pattern such as raw/*.png.",
        )
        self.axes = LineEdit(label="axes", tooltip="A letter for each dimension, as in ZYX.")
        self.is_labels = CheckBox(label="labels", tooltip="The pixels are labels, not grey values.")
        super().__init__([self.file, self.axes, self.is_labels], "Open")

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the reading."""
        source, labels = self.file.line_edit.value.strip(), self.is_labels.value
        axes = self.axes.value.strip() or None
        if not source:
            raise OptionError("file: none is chosen", hint="choose a file, or write its path")
        source = str(Path(source).expanduser())

        def read(_: Progress) -> list[LayerData]:
            return read_layers(source, axes=axes, labels=labels)

        return read, f"opening {source} ..."

    def finish(self, result: list[LayerData]) -> None:
        """Add the layers."""
        for layer in result:
            add_layer(self._viewer, *layer)
        names = ", ".join(str(settings["name"]) for _, settings, _ in result)
        self.add(f"opened {names}")
