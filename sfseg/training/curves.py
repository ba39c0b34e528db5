"""Training curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfseg.system.files import atomic_path

_SCORES = (("v_rand", "$V^{Rand}$"), ("v_info", "$V^{Info}$"), ("dice", "Dice"))


def write_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw the loss over the epochs as PNG, and beside it the scores of held-out sections, if any.

    An existing file is replaced.

    Parameters
    ----------
    path : Path
        The file to write.
    history : sequence of mapping
        Rows with epoch, loss, v_rand, v_info and dice; scores may be None.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    epochs = [row["epoch"] for row in history]
    is_scored = any(row[name] is not None for row in history for name, _ in _SCORES)
    figure = Figure(figsize=(9 if is_scored else 4.8, 3.6), layout="constrained", dpi=120)
    losses, *beside = figure.subplots(1, 2 if is_scored else 1, squeeze=False)[0]
    losses.plot(epochs, [row["loss"] for row in history], color="0.2", marker=".")
    losses.set(title="Training loss", xlabel="epoch")
    for scores in beside:
        _draw_scores(scores, history)
    for axes in (losses, *beside):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True)
    with atomic_path(path, overwrite=True) as part:
        figure.savefig(part, format="png")


def _draw_scores(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw the scores of the held-out sections, and write the last of each beside its name."""
    for name, label in _SCORES:
        points = [(row["epoch"], row[name]) for row in history if row[name] is not None]
        axes.plot(*zip(*points, strict=True), marker=".", label=f"{label} {points[-1][1]:.4f}")
    axes.set(title="Held-out sections", xlabel="epoch", ylim=(None, 1))
    axes.legend(frameon=False, loc="lower right")
