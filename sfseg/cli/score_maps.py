"""`sfseg score` of maps: the official numbers of each."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sfseg.cli.console import print_result, say
from sfseg.cli.progress import progress
from sfseg.cli.score_outputs import ScoreFiles, ScoreOutputs, write_page
from sfseg.cli.score_report import format_json, format_tables
from sfseg.errors import ShapeMismatchError
from sfseg.system.files import suggest_quotes
from sfseg.types import Progress

if TYPE_CHECKING:
    from sfseg.cli.score_report import Scored
    from sfseg.scoring.score_files import ScoreReport
    from sfseg.system.sharing import Share

    Judge = Callable[..., ScoreReport]


def print_map_scores(
    files: ScoreFiles,
    judge: "Judge",
    outputs: ScoreOutputs,
    *,
    share: "Share | None",
    as_json: bool,
) -> None:
    """Score maps, write what is asked for, and print tables or JSON.

    `judge` is `sfseg.score_files` with the truth and the options.
    """
    scored = [_score(each, files, judge, outputs, share) for each in files.predictions]
    _write(scored, outputs, files.axes)
    print_result(format_json(scored) if as_json else format_tables(scored))


def _score(
    prediction: str,
    files: ScoreFiles,
    judge: "Judge",
    outputs: ScoreOutputs,
    share: "Share | None",
) -> "Scored":
    """Score one map, and find its errors if they are wanted; show progress and warnings."""
    from sfseg.system.threads import ordered

    say(f"scoring {prediction} against {files.truth}")
    with progress(f"reading {prediction}") as bar, _hint_at_pattern(files.predictions):

        def told(what: str) -> Progress:
            return lambda done, total: bar.update(
                done, total, f"{what}, {done} of {total} sections done"
            )

        one = judge(prediction, share=share or ordered, progress=told(f"scoring {prediction}"))
        found = None
        if outputs.errors is not None or outputs.report is not None:
            found = one.find_errors(share=share or ordered, progress=told("finding errors"))
    for warning in one.warnings:
        say(f"warning: {warning}")
    return one, found


@contextlib.contextmanager
def _hint_at_pattern(predictions: Sequence[str]) -> Iterator[None]:
    """Where several maps do not fit, a shell may have replaced a pattern by names: say so."""
    try:
        yield
    except ShapeMismatchError as error:
        hint = suggest_quotes(predictions) if len(predictions) > 1 else None
        if hint is None:
            raise
        raise ShapeMismatchError(str(error).splitlines()[0], hint=hint) from error


def _write(scored: "Sequence[Scored]", outputs: ScoreOutputs, axes: str | None) -> None:
    """Write the picture of the errors, and the page."""
    if outputs.errors is not None and (found := scored[0][1]):
        found.write(outputs.errors, overwrite=outputs.overwrite)
        say(f"errors drawn in {outputs.errors}")
    if outputs.report is not None:
        from sfseg.report.score_page import Judged, write_score_page

        judged = [Judged(one, errors) for one, errors in scored if errors]
        write_page(write_score_page, outputs.report, judged, outputs, axes)
