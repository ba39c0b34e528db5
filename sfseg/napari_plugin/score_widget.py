"""The widget that scores a map, and shows where it is wrong."""

from typing import Any, NamedTuple, get_args

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, LineEdit
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from napari.viewer import Viewer

from sfseg.config import LabelFormat
from sfseg.napari_plugin import work
from sfseg.napari_plugin.fields import (
    add_layer,
    choose_layer,
    chosen,
    chosen_section,
    make_map_max,
    make_sections,
    parse_number,
)
from sfseg.napari_plugin.geometry import place_of
from sfseg.napari_plugin.panel import Call, Panel
from sfseg.napari_plugin.reader import LayerData
from sfseg.napari_plugin.wording import describe_error, describe_scores
from sfseg.scoring.drawing import CUT_OFF, MERGE, MERGED, SPLIT, UNKNOWN
from sfseg.scoring.errors import Errors
from sfseg.scoring.mistakes import Mistake
from sfseg.types import LabelKind, Progress

ERROR_COLOURS: dict[int | None, str] = {
    None: "transparent",
    MERGE: "#ff6b5eff",
    SPLIT: "#5ac8ffff",
    MERGED: "#ff6b5e6e",
    CUT_OFF: "#5ac8ff6e",
    UNKNOWN: "#000000a0",
}
"""The colours of the page that `sfseg score --report` writes."""


class ScoreResult(NamedTuple):
    """What a score shows: a text, and the errors with their layer, if they were asked for."""

    text: str
    errors: tuple[Mistake, ...] = ()
    layer: LayerData | None = None


def draw_errors(errors: Errors, layer: Any, section: int | None) -> LayerData:
    """Draw errors as labels over the map that has them; `section` as for `place_of`."""
    picture = np.stack([each.draw() for each in errors.sections()])
    settings = {
        "name": f"{layer.name} errors",
        "colormap": DirectLabelColormap(color_dict=ERROR_COLOURS),
        **place_of(layer, section),
    }
    return picture.reshape(picture.shape[-layer.ndim :]), settings, "labels"


class ScoreWidget(Panel):
    """Score a map against labels, with the official numbers of ISBI 2012."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.map = choose_layer("map", "Probability of being inside a cell, or a mask.", Image)
        self.truth = choose_layer("labels", "The truth.", Labels)
        self.labels_are = ComboBox(
            label="labels are",
            choices=get_args(LabelKind),
            tooltip="What any number but 0 is: inside of cells, membrane, or the number of a cell.",
        )
        self.membrane_value = LineEdit(
            label="membrane value", tooltip="The number of membrane, where it is not 0."
        )
        self.ignore = LineEdit(
            label="ignore", tooltip="The number of pixels that are not labelled; empty: none."
        )
        self.invert = CheckBox(label="invert", tooltip="The map is high on membranes.")
        self.map_max = make_map_max()
        self.sections = make_sections()
        self.show_errors = CheckBox(
            label="show errors", value=True, tooltip="Add a layer with each merge and each split."
        )
        self.error = ComboBox(
            label="error", choices=[], visible=False, tooltip="Go there. The first costs most."
        )
        fields = [
            self.map,
            self.truth,
            self.labels_are,
            self.membrane_value,
            self.ignore,
            self.invert,
            self.map_max,
            self.sections,
            self.show_errors,
            self.error,
        ]
        super().__init__(fields, "Score")
        self.error.changed.connect(self._go_to)
        self._scored_map: Any = None

    def choices(self) -> work.ScoreChoices:
        """Read the fields."""
        form = LabelFormat(
            self.labels_are.value,
            membrane_value=parse_number(self.membrane_value),
            ignore=parse_number(self.ignore),
        )
        return work.ScoreChoices(self.invert.value, parse_number(self.map_max), form)

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the scoring."""
        layers, choices = (chosen(self.map), chosen(self.truth)), self.choices()
        section = chosen_section(self.sections, layers[0], self._viewer)
        predicted, truth = (work.pixels_of(layer, section) for layer in layers)
        names, with_errors = (layers[0].name, layers[1].name), self.show_errors.value
        self._scored_map, self.error.visible = layers[0], False

        def score(progress: Progress) -> ScoreResult:
            scored = work.score_pixels(
                predicted,
                truth,
                choices,
                names=names,
                first_section=section or 0,
                with_errors=with_errors,
                progress=progress,
            )
            text = describe_scores(*scored, *names)
            if scored.errors is None:
                return ScoreResult(text)
            return ScoreResult(
                text, scored.errors.listed, draw_errors(scored.errors, layers[0], section)
            )

        return score, f"scoring {names[0]} ..."

    def finish(self, result: ScoreResult) -> None:
        """Show the numbers and the warnings, and add the errors."""
        self.write(result.text)
        if result.layer is None:
            return
        add_layer(self._viewer, *result.layer)
        with self.error.changed.blocked():  # not there at once
            self.error.choices = [(describe_error(each), each) for each in result.errors]
        self.error.visible = bool(result.errors)

    def _go_to(self, error: Mistake | None) -> None:
        """Bring the main place of an error to the middle of the view."""
        layer = self._scored_map
        if error is None or layer is None:
            return
        place = (error.section - 1, error.y, error.x)[-layer.ndim :]
        world = tuple(layer.data_to_world(place))
        self._viewer.dims.point = world
        scene = getattr(self._viewer, "scene", self._viewer)  # napari 0.9 has its camera there
        scene.camera.center = world[-3:]
