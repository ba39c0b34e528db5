"""Training curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sfseg.files import atomic_path


def write_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss and validation scores over the epochs, as PNG; an existing file is replaced.

    Parameters
    ----------
    path : Path
        Where to.
    history : sequence of mapping
        Rows with epoch, loss, v_rand, v_info and dice; scores may be None.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=120)
    losses, scores = figure.subplots(1, 2)
    losses.plot(epochs, [row["loss"] for row in history], color="0.2", marker=".")
    losses.set(title="Training loss", xlabel="epoch")
    for name, label in (("v_rand", "$V^{Rand}$"), ("v_info", "$V^{Info}$"), ("dice", "Dice")):
        points = [(row["epoch"], row[name]) for row in history if row[name] is not None]
        if points:
            scores.plot(
                *zip(*points, strict=True), marker=".", label=f"{label} {points[-1][1]:.4f}"
            )
    scores.set(title="Held-out sections", xlabel="epoch", ylim=(None, 1))
    if scores.lines:
        scores.legend(frameon=False, loc="lower right")
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True)
    with atomic_path(path, overwrite=True) as part:
        figure.savefig(part, format="png")
