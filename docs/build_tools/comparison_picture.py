"""Draw docs/images/comparison.png, as `sfseg compare` draws it, from the runs of docs/results.md.

Run it from the root of the repository: ``python docs/build_tools/comparison_picture.py``.
"""

from pathlib import Path

from sfseg.comparison.costs import cost_of
from sfseg.comparison.plot import write_picture
from sfseg.comparison.table import Figure, Table, TableRow
from sfseg.config import CompareConfig
from sfseg.recipes import DEFAULT
from sfseg.scoring import thesis

OUT = Path("docs/images/comparison.png")
SHAPE = (30, 512, 512)  # of ISBI 2012

# Recipe `default`, 72 epochs, sections 25-30 in one pass: seeds 0, 1, 2 of each network.
RUNS = {
    "unet": {"v_rand": (0.9782, 0.9861, 0.9817), "dice": (0.9538, 0.9540, 0.9542)},
    "fusionnet": {"v_rand": (0.9811, 0.9832, 0.9838), "dice": (0.9553, 0.9548, 0.9547)},
    "sfnet": {"v_rand": (0.9881, 0.9895, 0.9883), "dice": (0.9556, 0.9554, 0.9556)},
}


def make_row(arch: str) -> TableRow:
    """Summarise the three runs of a network."""
    figures = {name: Figure.from_values(values) for name, values in RUNS[arch].items()}
    published = thesis.TABLES["isbi2012"][arch]
    return TableRow(arch, 3, figures, cost_of(arch, DEFAULT, SHAPE), published)


table = Table(
    title="ISBI 2012, sections 25-30, recipe default",
    budget="",
    protocol="",
    notes=(),
    rows=tuple(make_row(arch) for arch in RUNS),
    runs=(),
    planned=0,
    config=CompareConfig(out=OUT.parent),
)
write_picture(OUT, table)
