"""The table of a comparison as a picture: dots are runs, bars are means, diamonds the thesis."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfseg.comparison.table import Table, TableRow
from sfseg.system.files import atomic_path

PANELS = (("v_rand", "$V^{Rand}$"), ("dice", "Dice at threshold 0.5"))
RUN, MEAN, THESIS = "#0072B2", "black", "#D55E00"
"""Colours of Okabe and Ito, which colour-blind people can distinguish."""

DOTS_HEIGHT = 0.36
"""Share of the height of a row over which the dots of its runs are spread."""


def write_picture(path: Path, table: Table) -> None:
    """Draw V_Rand and Dice of every run, as PNG; an existing file is replaced.

    Parameters
    ----------
    path : Path
        The file to write.
    table : Table
        With at least one row.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    figure = Figure(figsize=(9, 1.9 + 0.55 * len(table.rows)), layout="constrained", dpi=150)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (name, label) in zip(panels, PANELS, strict=True):
        for place, row in enumerate(table.rows):
            _draw_row(axes, place, row, name)
        axes.set_xlabel(label)
        axes.margins(x=0.08)
        axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_yticks(range(len(table.rows)), [_label(row) for row in table.rows])
    panels[0].set_ylim(len(table.rows) - 0.5, -0.5)  # the first row at the top
    handles, labels = panels[0].get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside upper right",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(table.title, x=0.01, ha="left", fontsize=11)
    said = " ".join(filter(None, (table.budget, table.progress, table.protocol)))
    figure.supxlabel(textwrap.fill(said, 150), x=0.01, ha="left", fontsize=7, color="0.35")
    with atomic_path(path, overwrite=True) as part:
        figure.savefig(part, format="png")


def _draw_row(axes: Axes, place: int, row: TableRow, name: str) -> None:
    figure = row.figures[name]
    count = len(figure.values)
    heights = place + DOTS_HEIGHT * (np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(1))
    axes.scatter(figure.values, heights, s=22, color=RUN, lw=0, label="one run", zorder=3)
    axes.vlines(figure.mean, place - 0.3, place + 0.3, color=MEAN, lw=2, label="mean ± sd")
    if figure.sd is not None:
        axes.hlines(place, figure.mean - figure.sd, figure.mean + figure.sd, color=MEAN, lw=1)
    if row.thesis:
        printed = {"v_rand": row.thesis.v_rand, "dice": row.thesis.dice}[name]
        axes.scatter(
            printed,
            place,
            marker="D",
            s=42,
            facecolor="none",
            edgecolor=THESIS,
            lw=1.5,
            label="the thesis",
            zorder=4,
        )


def _label(row: TableRow) -> str:
    return f"{row.arch}\n{row.cost.parameters / 1e6:.3g} M parameters"
