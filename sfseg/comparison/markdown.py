"""Write a table as Markdown whose columns are aligned, so that it reads well as plain text."""

from collections.abc import Sequence

from sfseg.comparison.table import SCORES, Figure, Table, TableRow
from sfseg.scoring.thesis import Published

HEADINGS = ("", *SCORES.values(), "parameters", "GFLOP", "s a section", "training, min", "runs")


def to_markdown(table: Table) -> str:
    """Write a table, with its title above and the protocol below."""
    cells = [list(HEADINGS)]
    for row in table.rows:
        cells.append(measured_cells(row))
        if row.thesis:
            name, *printed = printed_cells(row.arch, row.thesis)
            cells.append([f"*{name}*", *printed])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(cells[0], widths)]
    rule = [f"{'-' * (width - 1)}:" for width in widths]
    lines.append(_line(["-" * widths[0], *rule[1:]], widths))
    lines += [_line(line, widths) for line in cells[1:]]
    top = [f"# {table.title}", "", f"**{' '.join(filter(None, (table.budget, table.progress)))}**"]
    return "\n".join([*top, "", *lines, "", table.protocol, "", *(f"- {n}" for n in table.notes)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = zip(cells, widths, strict=True)
    padded = [f"{name[0]:<{name[1]}}", *(f"{cell:>{width}}" for cell, width in figures)]
    return f"| {' | '.join(padded)} |"


def measured_cells(row: TableRow) -> list[str]:
    """Write the figures of a network, under `HEADINGS`."""
    minutes = Figure.from_values([seconds / 60 for seconds in row.figures["training_s"].values])
    return [
        row.arch,
        *(_mean_and_sd(row.figures[name], ".4f") for name in SCORES),
        _millions(row.cost.parameters),
        f"{row.cost.flop / 1e9:.1f}",
        _mean_and_sd(row.figures["prediction_s"], ".3f"),
        _mean_and_sd(minutes, ".2f"),
        str(row.runs),
    ]


def printed_cells(arch: str, printed: Published) -> list[str]:
    """Write the figures of the thesis for a network, under `HEADINGS`."""
    scores = {"v_rand": f"{printed.v_rand:.4f}", "dice": f"{printed.dice:.4f}"}
    columns = [scores.get(name, "") for name in SCORES]
    return [f"{arch}, thesis", *columns, _millions(printed.parameters), "", "", "", ""]


def _mean_and_sd(figure: Figure, form: str) -> str:
    spread = "" if figure.sd is None else f" ± {figure.sd:{form}}"
    return f"{figure.mean:{form}}{spread}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M"
