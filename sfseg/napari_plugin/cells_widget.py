"""The widget that finds cells in 3D, and corrects them: two that are one, one that is two."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from magicgui.widgets import (
    CheckBox,
    Container,
    FileEdit,
    FloatSpinBox,
    LineEdit,
    PushButton,
    SpinBox,
)
from napari.layers import Image
from napari.viewer import Viewer

from sfseg.config import SegmentConfig
from sfseg.errors import OptionError, SfsegError
from sfseg.napari_plugin import work
from sfseg.napari_plugin.fields import (
    add_layer,
    choose_layer,
    chosen,
    make_map_max,
    make_threshold,
    parse_number,
)
from sfseg.napari_plugin.geometry import place_of
from sfseg.napari_plugin.panel import Call, Panel
from sfseg.napari_plugin.session import Session
from sfseg.napari_plugin.wording import in_widget_words
from sfseg.segmentation.edits import Edit, Merge, Point, Split, read_edits, write_edits
from sfseg.segmentation.finder import node_options
from sfseg.segmentation.table_files import SUFFIX, require_tables
from sfseg.types import AnyArray, Progress, describe_shape, format_count

_DEFAULTS = SegmentConfig()
_MOST_VOXELS = 10**9
_NOT_FOUND = "press Find cells first"


class Found(NamedTuple):
    """A session, its cells, and what looks odd about its map."""

    session: Session
    cells: AnyArray
    doubts: tuple[str, ...] = ()


class Pick(NamedTuple):
    """A cell that the person has clicked on."""

    cell: int
    place: Point

    def __str__(self) -> str:
        return f"cell {self.cell} at {', '.join(map(str, self.place))}"


class CellsWidget(Panel):
    """Find the cells of a map in 3D, and correct them."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._session: Session | None = None
        self._picks: list[Pick] = []
        self._is_painted = False
        self.map = choose_layer("map", "Probability of being inside a cell.", Image)
        self.beta = FloatSpinBox(
            label="beta",
            value=_DEFAULTS.beta,
            min=0.01,
            max=0.99,
            step=0.05,
            tooltip="Above 0.5 there are more and smaller cells, below fewer and larger ones.",
        )
        self.threshold = make_threshold(_DEFAULTS.threshold)
        self.min_size = SpinBox(
            label="min size",
            value=_DEFAULTS.min_size,
            min=0,
            max=_MOST_VOXELS,
            tooltip="Join cells of fewer voxels with a neighbour.",
        )
        self.fill = CheckBox(label="fill", tooltip="Grow cells over the membranes between them.")
        self.map_max = make_map_max()
        self.picked = LineEdit(
            label="picked", enabled=False, tooltip="Hold Shift, and click on cells in 2D."
        )
        self.merge_button = PushButton(text="Merge", tooltip="The two picked cells are one.")
        self.split_button = PushButton(
            text="Split", tooltip="The part of the cell around the last pick is another cell."
        )
        self.undo_button = PushButton(text="Undo", tooltip="Take the last correction back.")
        self.file = FileEdit(
            label="corrections",
            mode="w",
            filter=f"*{SUFFIX}",
            tooltip="The table of corrections, which sfseg segment --edits takes.",
        )
        self.save_button = PushButton(text="Save corrections")
        buttons = [self.merge_button, self.split_button, self.undo_button]
        row = Container(widgets=buttons, layout="horizontal", labels=False)
        row.margins = (0, 0, 0, 0)
        super().__init__(
            [self.map, self.beta, self.threshold, self.min_size, self.fill, self.map_max],
            "Find cells",
            tools=[self.picked, row, self.file, self.save_button],
            locked=[*buttons, self.save_button],
        )
        self.picked.native.setPlaceholderText("hold Shift, and click on cells")
        self.merge_button.clicked.connect(lambda: self.run(self._prepare_merge))
        self.split_button.clicked.connect(lambda: self.run(self._prepare_split))
        self.undo_button.clicked.connect(lambda: self.run(self._prepare_undo))
        self.save_button.clicked.connect(self.save)

    def config(self) -> SegmentConfig:
        """Read the fields."""
        return SegmentConfig(
            beta=self.beta.value,
            threshold=self.threshold.value,
            min_size=self.min_size.value,
            fill=self.fill.value,
            map_max=parse_number(self.map_max),
        )

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the search for cells. Superpixels are found once for a map."""
        layer, config = chosen(self.map), self.config()
        pixels, last = work.pixels_of(layer), self._session
        is_divided = (
            last is not None
            and last.pixels is pixels
            and node_options(last.config) == node_options(config)
        )
        known = last.finder if last is not None and is_divided else None

        def find(progress: Progress) -> Found:
            doubts: tuple[str, ...] = ()
            finder = known
            if finder is None:
                finder, doubts = work.divide_map(pixels, config, layer.name, progress)
            session = Session(layer, pixels, config, finder)
            return Found(session, session.draw(), doubts)

        return find, f"finding the cells of {layer.name} ..."

    def finish(self, result: Found) -> None:
        """Show the cells: in a new layer, or corrected in theirs, unless it was painted in."""
        session, cells, doubts = result
        if session.labels is None or self._is_painted:
            session = replace(session, labels=self._add_layer(session, cells))
        else:
            session.labels.data = cells
        session.labels.metadata = {"sfseg": {"edits": [str(edit) for edit in session.edits]}}
        self._session, self._is_painted = session, False
        self._show_picks([])
        count = format_count(len(np.unique(cells[cells > 0])), "cell")
        text = f"{session.labels.name}: {count} in {describe_shape((1, *cells.shape)[-3:])}"
        self.write("\n".join([text, *(f"done: {edit}" for edit in session.edits)]))
        for doubt in doubts:
            self.add(f"warning: {in_widget_words(doubt)}")

    def _add_layer(self, session: Session, cells: AnyArray) -> Any:
        """Add a layer of cells, in which one can pick them."""
        name = f"{session.map.name.removesuffix(' map')} cells"
        add_layer(self._viewer, cells, {"name": name, **place_of(session.map)}, "labels")
        layer = self._viewer.layers[-1]
        layer.mouse_drag_callbacks.append(self._pick)
        layer.events.labels_update.connect(self._note_paint)
        return layer

    # ---- corrections

    def _note_paint(self) -> None:
        """Remember that the layer has changes of a brush: it is not drawn again."""
        self._is_painted = True

    def _pick(self, layer: Any, event: Any) -> None:
        """Pick the cell under the mouse, if Shift is held; napari calls it for each press."""
        session = self._session
        if "Shift" not in event.modifiers or session is None or layer is not session.labels:
            return
        if len(event.dims_displayed) != 2:
            self.add("cells are picked in 2D: leave the view in 3D first")
            return
        place = np.rint(layer.world_to_data(event.position)).astype(int)[-layer.ndim :]
        if (place < 0).any() or (place >= layer.data.shape).any():
            return
        if cell := int(layer.data[tuple(place)]):
            section, y, x = (0, *place.tolist())[-3:]
            self._show_picks([*self._picks[-1:], Pick(cell, (section + 1, y, x))])

    def _show_picks(self, picks: list[Pick]) -> None:
        self._picks = picks
        self.picked.value = ", ".join(map(str, picks))

    def _found(self) -> Session:
        """Return the cells that are shown; raises OptionError if there are none."""
        session = self._session
        if session is None or session.labels not in self._viewer.layers:
            raise OptionError("cells: none are found yet, or their layer is gone", hint=_NOT_FOUND)
        return session

    def _prepare_merge(self) -> tuple[Call, str]:
        session = self._found()
        cells = [pick.cell for pick in self._picks]
        if len(set(cells)) < 2:
            raise OptionError(
                "merge: two cells are not picked", hint="hold Shift, and click on two cells"
            )
        return self._correct(session, (*session.edits, Merge(*cells)))

    def _prepare_split(self) -> tuple[Call, str]:
        session = self._found()
        if not self._picks:
            raise OptionError(
                "split: no cell is picked",
                hint="hold Shift, and click on the part of a cell to cut off",
            )
        return self._correct(session, (*session.edits, Split(*self._picks[-1])))

    def _prepare_undo(self) -> tuple[Call, str]:
        session = self._found()
        if not session.edits:
            raise OptionError("undo: there is no correction", hint="merge or split cells first")
        return self._correct(session, session.edits[:-1])

    def _correct(self, session: Session, edits: tuple[Edit, ...]) -> tuple[Call, str]:
        """Return the work that draws the cells with other corrections."""
        corrected = replace(session, edits=edits)
        return lambda _: Found(corrected, corrected.draw()), "correcting cells ..."

    def save(self) -> None:
        """Write the corrections, and say which command makes the same cells."""
        try:
            session, path = self._found(), self._table()
            write_edits(path, session.edits, overwrite=path.exists())
        except (SfsegError, OSError) as error:
            self._tell(error)
            return
        corrections = format_count(len(session.edits), "correction")
        self.add(f"{path}: {corrections}\n{session.command(path)}")

    def _table(self) -> Path:
        """Return the table to write; refuse a file that is none of corrections."""
        text = self.file.line_edit.value.strip()
        if not text:
            raise OptionError("corrections: no file is named", hint="name it corrections.csv")
        path = Path(text).expanduser()
        require_tables([path])
        if path.exists():
            read_edits(path)  # another table is not replaced
        return path
