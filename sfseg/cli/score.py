"""`sfseg score`: the official numbers, as a table or JSON."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfseg.cli.checks import require_inputs
from sfseg.cli.console import print_result, say
from sfseg.cli.options import (
    INPUT,
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
from sfseg.types import describe_shape

if TYPE_CHECKING:
    from sfseg.scoring.score_files import ScoreReport

EXAMPLES = """
sfseg score map.tif labels.tif
sfseg score map.tif labels.tif --sections 25-30
sfseg score membranes.tif labels.tif --invert --json
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
    as_json: JsonOption = False,
) -> None:
    """Score a prediction against labels, exactly as the ISBI 2012 challenge does.

    V_Rand and V_Info after border thinning, each the best over the thresholds 0, 0.1 ... 1. In
    both files 1 = inside a cell, 0 = membrane.
    """
    require_inputs([prediction, truth])
    say(f"scoring {prediction} against {truth}")
    from sfseg.scoring.score_files import score_files

    with progress(f"reading {prediction}") as bar:
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
            progress=lambda done, total: bar.update(
                done, total, f"scoring {prediction}, {done} of {total} sections done"
            ),
        )
    for warning in report.warnings:
        say(f"warning: {warning}")
    print_result(json.dumps(report.as_dict(), indent=2) if as_json else format_table(report))


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
