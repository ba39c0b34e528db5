"""What `sfseg score` prints: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfseg.types import describe_shape

if TYPE_CHECKING:
    from sfseg.scoring.errors import Errors
    from sfseg.scoring.score_files import ScoreReport

    Scored = tuple[ScoreReport, Errors | None]

WORST = 10
"""Errors in the table."""


def format_json(scored: "Sequence[Scored]") -> str:
    """Write all facts: of one map an object, of several a list."""
    facts = [one.as_dict() | (found.as_dict() if found else {}) for one, found in scored]
    return json.dumps(facts if len(facts) > 1 else facts[0], indent=2)


def format_tables(scored: "Sequence[Scored]") -> str:
    """Lay the scores of each map out for a person; of several, side by side as well."""
    tables = [
        "\n".join([format_table(one), *(format_errors(found) if found else ())])
        for one, found in scored
    ]
    if len(tables) == 1:
        return tables[0]
    named = [f"{one.prediction}\n{table}" for (one, _), table in zip(scored, tables, strict=True)]
    return "\n\n".join([*named, format_comparison([one for one, _ in scored])])


def format_comparison(reports: "Sequence[ScoreReport]") -> str:
    """Lay the scores of several maps out, a line each."""
    lines = [f"{'V_Rand':>10}{'V_Info':>10}{'Dice':>10}"]
    lines += [
        f"{one.scores.v_rand:10.6f}{one.scores.v_info:10.6f}{one.scores.dice:10.6f}"
        f"  {one.prediction}"
        for one in reports
    ]
    return "\n".join(lines)


def format_table(report: "ScoreReport") -> str:
    """Lay the scores out for a person."""
    scores = report.scores
    lines = [
        describe_shape(scores.shape),
        "",
        f"{'':9}{'score':>10}{'split':>10}{'merge':>10}   at threshold",
        f"{'V_Rand':9}{scores.v_rand:10.6f}{scores.v_rand_split:10.6f}{scores.v_rand_merge:10.6f}"
        f"   {scores.v_rand_threshold:.1f}",
        f"{'V_Info':9}{scores.v_info:10.6f}{scores.v_info_split:10.6f}{scores.v_info_merge:10.6f}"
        f"   {scores.v_info_threshold:.1f}",
        "",
        f"V_Rand pooled {scores.v_rand_pooled:.6f}, best over alpha {scores.v_rand_alpha:.6f}",
        f"Dice {scores.dice:.6f} (best {scores.dice_best:.6f}), Jaccard {scores.jaccard:.6f}, "
        f"membrane Dice {scores.membrane_dice:.6f}, pixel F {scores.pixel_f:.6f}",
        "",
        f"{'section':>9}{'V_Rand':>10}{'V_Info':>10}{'Dice':>10}",
    ]
    lines += [
        f"{row.section:9}{row.v_rand:10.6f}{row.v_info:10.6f}{row.dice:10.6f}"
        for row in scores.per_section
    ]
    return "\n".join(lines)


def format_errors(errors: "Errors") -> list[str]:
    """Lay the worst errors out for a person."""
    few, small = errors.listed[:WORST], errors.small
    lines = [
        "",
        f"errors: {len(errors.listed)} by their cost in V_Rand, and {small.count} small "
        f"({small.cost:.6f} together)",
    ]
    if few:
        lines.append(f"{'error':>9}{'section':>10}{'y':>7}{'x':>7}{'pixels':>10}{'cost':>12}  kind")
    return lines + [
        f"{each.id:9}{each.section:10}{each.y:7}{each.x:7}{each.size_px:10}{each.cost:12.6f}"
        f"  {each.kind}"
        for each in few
    ]
