"""Fields of the widgets, and what they say where they are empty or wrong."""

from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, create_widget
from napari.viewer import Viewer

from sfseg.config import PredictConfig
from sfseg.errors import OptionError
from sfseg.napari_plugin.geometry import current_section
from sfseg.types import AnyArray, Number

_WHOLE, _CURRENT = "whole stack", "current section"


def choose_layer(label: str, tooltip: str, kind: Any) -> Any:
    """Make a field that lists the layers of a kind in the viewer."""
    return create_widget(annotation=kind, label=label, options={"tooltip": tooltip})


def chosen(field: Any) -> Any:
    """Return the layer of a field; raises OptionError if there is none."""
    if field.value is None:
        raise OptionError(
            f"{field.label}: no layer is chosen",
            hint="open a stack first: drop its file into this window",
        )
    return field.value


def parse_number(field: LineEdit) -> Number | None:
    """Read a number; None where the field is empty; raises OptionError if it is no number."""
    text = field.value.strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise OptionError(
            f"{field.label}: this is not a number: {text}", hint="write it like 255"
        ) from error


def chosen_section(field: ComboBox, layer: Any, viewer: Viewer) -> int | None:
    """Return the index of the section that the viewer shows; None for all sections."""
    return current_section(layer, viewer.dims.point) if field.value == _CURRENT else None


def make_sections() -> ComboBox:
    """Make the field that says which sections of the layer count."""
    return ComboBox(
        label="sections",
        choices=[_WHOLE, _CURRENT],
        tooltip="All sections, or the one that the viewer shows.",
    )


def make_map_max() -> LineEdit:
    """Make the field of the value of a map that means 1; see `parse_number`."""
    return LineEdit(
        label="map max",
        tooltip="The value of the map that means 1; empty: 1, or the maximum of its type.",
    )


def add_layer(viewer: Viewer, data: AnyArray, settings: dict[str, Any], kind: str) -> None:
    """Add a layer of a kind to the viewer."""
    add = viewer.add_labels if kind == "labels" else viewer.add_image
    add(data, **settings)


def make_threshold(value: float = PredictConfig.threshold) -> FloatSpinBox:
    """Make the field of the threshold of segments or cells."""
    return FloatSpinBox(
        label="threshold",
        value=value,
        min=0,
        max=1,
        step=0.05,
        tooltip="Pixels above this probability are inside a cell.",
    )
