"""`sfseg score` of cells: the numbers of both files are ids."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.console import print_result, say
from sfseg.cli.options import INPUT, OUTPUT
from sfseg.cli.progress import progress
from sfseg.cli.score_outputs import ScoreFiles, ScoreOutputs, write_page
from sfseg.errors import OptionError
from sfseg.types import describe_shape, format_count, parse_pixel_size

if TYPE_CHECKING:
    from sfseg.scoring.cell_errors import CellError
    from sfseg.scoring.cell_files import OpenCells
    from sfseg.scoring.cells import CellScore, CellScores
    from sfseg.system.sharing import Share

    Judged = tuple[OpenCells, CellScores]

WORST = 5
"""Splits, and as many merges, in the table."""

_NAME = 24
"""Width of the names of rows."""

_NAMED = 3
"""Parts of an error that are named in the table."""

SegmentsOption = Annotated[
    bool,
    typer.Option(
        "--segments",
        help="Both files hold the numbers of cells. [default: found out by looking]",
        rich_help_panel=INPUT,
    ),
]
BorderOption = Annotated[
    float | None,
    typer.Option(
        metavar="NM",
        min=0,
        help="Of cells: score also without the pixels so near to a border of true cells, as CREMI "
        "does; 0 = do not. [default: 25, where the size of a pixel is known]",
        rich_help_panel=INPUT,
    ),
]


WorstOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Of cells: the number of splits, and of merges, that the page, --errors and --json "
        "have, the worst ones. [default: 10]",
        rich_help_panel=OUTPUT,
    ),
]


def are_for_cells(
    files: ScoreFiles,
    for_maps: Mapping[str, bool],
    *,
    segments: bool,
    border: float | None,
    pixel_size: str | None,
    worst: int | None,
) -> bool:
    """Tell whether cells are scored; refuse options of maps with those of cells.

    `for_maps` says which options of maps were given.
    """
    of_maps = [option for option, is_given in for_maps.items() if is_given]
    if of_maps and segments:
        raise OptionError(
            f"{of_maps[0]}: it is for maps, and --segments scores cells",
            hint=f"leave out {of_maps[0]}",
        )
    if not segments and not of_maps:
        from sfseg.scoring.cell_files import are_cells

        segments = all(
            are_cells(
                cells,
                files.truth,
                ignore=files.ignore,
                axes=files.axes,
                label_axes=files.label_axes,
            )
            for cells in files.predictions
        )
    given = {"--border": border, "--pixel-size": pixel_size, "--worst": worst}
    of_cells = [option for option, value in given.items() if value is not None]
    if of_cells and not segments:
        raise OptionError(
            f"{of_cells[0]}: it is for cells, and this is the score of a map",
            hint=f"add --segments if both files hold numbers of cells, or leave out {of_cells[0]}",
        )
    return segments


def print_cell_scores(
    files: ScoreFiles,
    sections: str | None,
    border: float | None,
    pixel_size: str | None,
    outputs: ScoreOutputs,
    *,
    share: "Share | None",
    as_json: bool,
) -> None:
    """Score cells, write what is asked for, and print tables or JSON."""
    from sfseg.scoring.cell_files import open_cells

    with contextlib.ExitStack() as stacks:
        judged: list[Judged] = []
        for cells in files.predictions:
            say(f"scoring the cells of {cells} against {files.truth}")
            opened = stacks.enter_context(
                open_cells(
                    cells,
                    files.truth,
                    sections=sections,
                    ignore=files.ignore,
                    pixel_size_nm=parse_pixel_size(pixel_size),
                    axes=files.axes,
                    label_axes=files.label_axes,
                )
            )
            judged.append((opened, _score(cells, opened, border, outputs.worst, share)))
        _write(judged, outputs, files.axes)
    scored = [scores for _, scores in judged]
    facts = [scores.as_dict() for scores in scored]
    if as_json:
        print_result(json.dumps(facts if len(facts) > 1 else facts[0], indent=2))
    else:
        print_result(format_cell_tables(scored))


def _score(
    cells: str,
    opened: "OpenCells",
    border: float | None,
    worst: int | None,
    share: "Share | None",
) -> "CellScores":
    """Score the cells of one file, and show the progress and the warnings."""
    listed: dict[str, Any] = {} if worst is None else {"worst": worst}
    with progress(f"reading {cells}") as bar:
        scores = opened.score(
            border_nm=border,
            **listed,
            share=share,
            progress=lambda done, total: bar.update(
                done, total, f"scoring {cells}, {done} of {total} sections read"
            ),
        )
    for warning in scores.warnings:
        say(f"warning: {warning}")
    return scores


def _write(judged: "Sequence[Judged]", outputs: ScoreOutputs, axes: str | None) -> None:
    """Write the picture of the errors, and the page."""
    if outputs.errors is not None:
        from sfseg.scoring.cell_drawing import write_cell_errors

        opened, scores = judged[0]
        with progress(f"writing {outputs.errors}"):
            write_cell_errors(outputs.errors, opened, scores.errors, overwrite=outputs.overwrite)
        say(f"errors drawn in {outputs.errors}")
    if outputs.report is not None:
        from sfseg.report.cells_page import JudgedCells, write_cells_page

        page = [JudgedCells(*one) for one in judged]
        write_page(write_cells_page, outputs.report, page, outputs, axes)


def format_cell_tables(scored: "Sequence[CellScores]") -> str:
    """Lay the scores of each file out for a person; of several, side by side as well."""
    tables = ["\n".join(format_cell_table(scores)) for scores in scored]
    if len(tables) == 1:
        return tables[0]
    named = [f"{scores.names[0]}\n{table}" for scores, table in zip(scored, tables, strict=True)]
    lines = [_head("in 3D"), *(f"{_row('', scores)}  {scores.names[0]}" for scores in scored)]
    return "\n\n".join([*named, "\n".join(lines)])


def format_cell_table(scores: "CellScores") -> Iterator[str]:
    """Lay the scores out for a person."""
    size = describe_shape(scores.shape)
    yield f"{size}, {format_count(scores.true_cells, 'true cell')}, {scores.cells} predicted"
    yield ""
    yield _head("VOI in bits (log2)")
    yield from (_row(name, score) for name, score in scores.rows().items())
    yield ""
    yield _head(f"{'section':>{_NAME}}")
    yield from (_row(f"{row.section:{_NAME}}", row) for row in scores.per_section)
    if scores.errors:
        yield from _format_errors(scores.errors)


def _head(name: str) -> str:
    return f"{name:{_NAME}}{'VOI':>10}{'split':>10}{'merge':>10}{'Rand error':>13}"


def _row(name: str, score: "CellScore") -> str:
    return (
        f"{name:{_NAME}}{score.voi:10.6f}{score.voi_split:10.6f}{score.voi_merge:10.6f}"
        f"{score.adapted_rand_error:13.6f}"
    )


def _format_errors(errors: "Sequence[CellError]") -> Iterator[str]:
    """List the worst splits and merges."""
    yield ""
    yield f"{'error':>7}{'kind':>7}{'section':>9}{'y':>6}{'x':>6}{'pixels':>11}{'bits':>10}  ids"
    left = {"split": WORST, "merge": WORST}
    for each in errors:
        left[each.kind] -= 1
        if left[each.kind] >= 0:
            more = " ..." if each.part_count > _NAMED else ""
            parts = ", ".join(map(str, each.parts[:_NAMED]))
            yield (
                f"{each.id:7}{each.kind:>7}{each.section:9}{each.y:6}{each.x:6}{each.pixels:11}"
                f"{each.cost:10.6f}  {each.whole}: {parts}{more}"
            )
