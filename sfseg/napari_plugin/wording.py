"""Texts of the widgets: options called as the fields are, and scores in a few lines."""

import re

from sfseg.scoring.errors import Errors
from sfseg.scoring.mistakes import Mistake
from sfseg.scoring.score import Scores
from sfseg.types import describe_shape, format_count

_OPTION = re.compile(r"--([a-z][a-z-]*)")


def in_widget_words(text: str) -> str:
    """Call the options of the command line as the fields of the widgets are called.

    Examples
    --------
    >>> in_widget_words("try --invert-image")
    'try "invert image"'
    """
    text = text.replace("--invert-labels", "--labels-are membrane")  # which does the same
    return _OPTION.sub(lambda found: f'"{found[1].replace("-", " ")}"', text)


def describe_error(error: Mistake) -> str:
    """Write an error in one line: what, where, and what it costs in V_Rand."""
    place = f"section {error.section}, y {error.y}, x {error.x}"
    return f"{error.id}: {error.kind}, {place}, costs {error.cost:.4f}"


def describe_scores(scores: Scores, errors: Errors | None, name: str, truth: str) -> str:
    """Write the numbers that matter, then how many errors there are, then warnings, in lines."""
    lines = [
        f"{name}",
        f"against {truth}: {describe_shape(scores.shape)}",
        "",
        f"V_Rand {scores.v_rand:.4f} at threshold {scores.v_rand_threshold:.1f}",
        f"   split {scores.v_rand_split:.4f}, merge {scores.v_rand_merge:.4f}",
        f"V_Info {scores.v_info:.4f} at threshold {scores.v_info_threshold:.1f}",
        f"   split {scores.v_info_split:.4f}, merge {scores.v_info_merge:.4f}",
        f"Dice {scores.dice:.4f}, best {scores.dice_best:.4f}",
        f"membrane Dice {scores.membrane_dice:.4f}",
    ]
    if len(scores.per_section) > 1:
        lines += ["", "section   V_Rand   V_Info   Dice"]
        lines += [
            f"{row.section:>7}   {row.v_rand:.4f}   {row.v_info:.4f}   {row.dice:.4f}"
            for row in scores.per_section
        ]
    if errors is not None:
        found = format_count(len(errors.listed), "error")
        lines += ["", f"{found}, and {errors.small.count} small ones"]
    warnings = [f"warning: {in_widget_words(text)}" for text in scores.warnings]
    return "\n".join([*lines, *([""] if warnings else []), *warnings])
