"""`sfseg score`: the official numbers, as a table or JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.checks import require_inputs, require_output
from sfseg.cli.console import print_result, say
from sfseg.cli.options import (
    INPUT,
    OUTPUT,
    AxesOption,
    IgnoreOption,
    JsonOption,
    LabelAxesOption,
    LabelsAreOption,
    MembraneValueOption,
    ThresholdLabelsOption,
    parse_number,
)
from sfseg.cli.progress import progress
from sfseg.types import Progress, describe_shape

if TYPE_CHECKING:
    from sfseg.scoring.errors import Errors
    from sfseg.scoring.score_files import ScoreReport

WORST = 10
"""Errors in the table."""

EXAMPLES = """
sfseg score map.tif labels.tif
sfseg score map.tif labels.tif --sections 25-30
sfseg score membranes.tif labels.tif --invert --json
sfseg score map.tif labels.tif --errors errors.tif      where the map is wrong
"""


def score(
    prediction: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTION", help="Interior probability: a TIFF, a folder or a pattern."
        ),
    ],
    truth: Annotated[
        str,
        typer.Argument(
            metavar="TRUTH", help="Labels, 0 = membrane: a TIFF, a folder or a pattern."
        ),
    ],
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Score only these sections, e.g. 25-30; the first one is 1.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    invert: Annotated[
        bool,
        typer.Option(
            "--invert",
            help="The prediction is high on membranes: invert it.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    invert_labels: Annotated[
        bool,
        typer.Option(
            "--invert-labels",
            help="The labels are high on membranes: invert them.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    map_max: Annotated[
        Any,
        typer.Option(
            metavar="VALUE",
            parser=parse_number,
            help="The value of the prediction that means 1, e.g. 100. [default: 1, and the type's "
            "maximum for integers]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    labels_are: LabelsAreOption = "interior",
    membrane_value: MembraneValueOption = None,
    threshold_labels: ThresholdLabelsOption = None,
    ignore: IgnoreOption = None,
    axes: AxesOption = None,
    label_axes: LabelAxesOption = None,
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write where the map is wrong, as a label image (.tif or .zarr): 1 merges, 2 "
            "splits, 3 cells merged into a larger one, 4 parts cut off.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=OUTPUT),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a prediction against labels, exactly as the ISBI 2012 challenge does.

    V_Rand and V_Info after border thinning, each the best over the thresholds 0, 0.1 ... 1. In
    both files 1 = inside a cell, 0 = membrane.
    """
    require_inputs([prediction, truth])
    if errors is not None:
        from sfseg.io.write import require_writable

        require_writable(str(errors), "uint8")
        require_output(errors, [prediction, truth], overwrite=overwrite)
    say(f"scoring {prediction} against {truth}")
    from sfseg.scoring.score_files import score_files

    with progress(f"reading {prediction}") as bar:

        def told(what: str) -> Progress:
            return lambda done, total: bar.update(
                done, total, f"{what}, {done} of {total} sections done"
            )

        report = score_files(
            prediction,
            truth,
            sections=sections,
            invert=invert,
            invert_labels=invert_labels,
            map_max=map_max,
            labels_are=labels_are,
            membrane_value=membrane_value,
            threshold_labels=threshold_labels,
            ignore=ignore,
            axes=axes,
            label_axes=label_axes,
            progress=told(f"scoring {prediction}"),
        )
        found = None if errors is None else report.find_errors(progress=told("finding errors"))
    for warning in report.warnings:
        say(f"warning: {warning}")
    if errors is not None and found is not None:
        found.write(errors, overwrite=overwrite)
        say(f"errors drawn in {errors}")
    if as_json:
        facts = report.as_dict() | (found.as_dict() if found else {})
        print_result(json.dumps(facts, indent=2))
    else:
        print_result("\n".join([format_table(report), *(format_errors(found) if found else ())]))


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
