"""`sfseg bench`: how fast the networks run on this machine, as a table or JSON."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import require_architectures, require_device_name
from sfseg.cli.console import print_result, say
from sfseg.cli.options import (
    MACHINE,
    NETWORK,
    DeviceOption,
    JsonOption,
    complete_architectures,
    complete_engines,
    complete_recipes,
)
from sfseg.cli.progress import progress
from sfseg.config import BenchConfig
from sfseg.recipes import find_recipe
from sfseg.types import describe_shape, format_time

if TYPE_CHECKING:
    from sfseg.benchmark.bench import BenchResult, EndToEnd, InferenceRow, TrainingRow
    from sfseg.system.machine import Machine, Rates

DEFAULTS = BenchConfig()
MEASUREMENT = "Measurement"

EXAMPLES = """
sfseg bench
sfseg bench --arch sfnet --engine torch --engine openvino
sfseg bench --train -d cuda --json
"""


def bench(
    arch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Architecture; repeat the option for more. [default: all three]",
            rich_help_panel=NETWORK,
            autocompletion=complete_architectures,
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Measure training steps instead of predictions.",
            rich_help_panel=MEASUREMENT,
        ),
    ] = False,
    side: Annotated[
        int,
        typer.Option(metavar="PIXELS", help="Side of the section.", rich_help_panel=MEASUREMENT),
    ] = DEFAULTS.side_px,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Passes to take the median of; fewer if they are slow.",
            rich_help_panel=MEASUREMENT,
        ),
    ] = DEFAULTS.repeats,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="With --train: default, finetune, thesis or thesis-piriform.",
            rich_help_panel=MEASUREMENT,
            autocompletion=complete_recipes,
        ),
    ] = DEFAULTS.recipe.name,
    patch: Annotated[
        int | None,
        typer.Option(
            min=32,
            metavar="PIXELS",
            help="With --train: side of the patches. [default: the recipe's]",
            rich_help_panel=MEASUREMENT,
        ),
    ] = None,
    device: DeviceOption = DEFAULTS.device,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="torch, openvino or compile; repeat the option for more. compile takes minutes. "
            "[default: torch]",
            rich_help_panel=MACHINE,
            autocompletion=complete_engines,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast the networks run on this machine, in a minute or more.

    Each network and engine runs on one section, in float32, and in bf16, fp16 and int8 where the
    machine has them. The rates are ratios to plain PyTorch and to a matrix product. Then a stack is
    predicted from file to file. sfnet runs with the shipped weights, the others with random ones.
    """
    config = BenchConfig(
        archs=tuple(arch) if arch else DEFAULTS.archs,
        engines=tuple(engine or ()),  # type: ignore[arg-type] # checked by the configuration
        side_px=side,
        repeats=repeats,
        device=device,
        train=train,
        recipe=find_recipe(recipe).changed(patch_px=patch),
    )
    require_architectures(config.archs)
    require_device_name(device)
    what = "training steps" if train else "predictions"
    say(f"measuring {what} of {', '.join(config.archs)}, which takes minutes on a slow CPU")
    from sfseg.benchmark import bench as verb

    with progress("measuring") as bar:

        def report(line: str, done: int, total: int) -> None:
            say(line)
            bar.update(done, total, line)

        result = verb.bench(config, report=report)
    print_result(json.dumps(result.as_dict(), indent=2) if as_json else format_table(result))


def format_table(result: "BenchResult") -> str:
    """Lay the figures out for a person."""
    lines = [describe_machine(result.machine), describe_rates(result.rates), ""]
    lines += format_training(result.training) if result.training else format_passes(result)
    return "\n".join(lines)


def format_training(rows: "Sequence[TrainingRow]") -> list[str]:
    """Lay the training steps out."""
    from sfseg.benchmark.training import SCHEDULE_SECTIONS

    one = rows[0]
    return [
        f"a training step on {one.batch_size} times {one.side_px}x{one.side_px} (recipe "
        f"{one.recipe}); whole: its {one.schedule_steps} steps on "
        f"{SCHEDULE_SECTIONS} sections",
        f"{'':11}{'engine':10}{'precision':10}{'seconds':>9}{'steps/s':>9}{'Mpx/s':>9}"
        f"{'TFLOP/s':>9}{'of matmul':>11}{'x plain':>9}{'waiting':>10}{'steps':>8}{'whole':>12}",
        *(
            f"{row.arch:11}{row.engine:10}{row.precision:10}{row.seconds:9.4f}{row.steps_s:9.2f}"
            f"{row.megapixels_s:9.2f}{row.tflops:9.3f}{row.percent_of_matmul:9.1f} %"
            f"{row.times_plain:9.2f}{row.percent_waiting:8.1f} %{row.steps:8}"
            f"{format_time(row.schedule_seconds):>12}"
            for row in rows
        ),
    ]


def format_passes(result: "BenchResult") -> list[str]:
    """Lay the predictions out."""
    side = result.config.side_px
    lines = [
        f"sections of {side}x{side}, in memory",
        f"{'':11}{'engine':10}{'precision':10}{'sections':>9}{'seconds':>9}{'Mpx/s':>9}"
        f"{'TFLOP/s':>9}{'of matmul':>11}{'of copy':>9}{'x plain':>9}{'off by':>9}{'passes':>8}",
    ]
    lines += [format_row(row) for row in result.rows]
    lines += [compare_int8(result.rows, row) for row in result.rows if row.precision == "int8"]
    lines += [line for row in result.rows if row.sections == 1 for line in format_steps(row)]
    for found in result.end_to_end:
        lines += ["", *describe_prediction(found)]
    if len(result.end_to_end) > 1:
        fast, int8 = result.end_to_end
        times = fast.seconds / int8.seconds
        lines.append(f"int8 is {times:.2f} times as fast as {fast.precision}, calibration included")
    return lines


def compare_int8(rows: "Sequence[InferenceRow]", row: "InferenceRow") -> str:
    """Say how much faster a row in int8 is than the fastest other one of its engine."""
    same = [other for other in rows if (other.arch, other.engine) == (row.arch, row.engine)]
    best = min((r for r in same if r.precision != "int8"), key=lambda r: r.seconds)
    times = best.seconds / row.seconds
    return f"{row.arch} in int8: {times:.2f} times as fast as in {best.precision}"


def describe_machine(machine: "Machine") -> str:
    """Say what it was measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = f"{machine.gpu}, " if machine.gpu else ""
    memory = f"{machine.available_bytes / 2**30:.1f} GiB"
    return (
        f"{machine.device}: {gpu}{machine.cpu}, {machine.threads} threads, {memory} free\n"
        f"{versions}"
    )


def describe_rates(rates: "Rates") -> str:
    """Say what the machine can do."""
    matmul = ", ".join(
        f"{tflops:.2f} TFLOP/s in {precision}" for precision, tflops in rates.matmul_tflops.items()
    )
    copy = f"copy {rates.copy_gb_s:.1f} GB/s"
    return f"a matrix product: {matmul} (the fastest is 100 % of matmul); {copy}"


def format_row(row: "InferenceRow") -> str:
    """Lay one row out."""
    return (
        f"{row.arch:11}{row.engine:10}{row.precision:10}{row.sections:9}{row.seconds:9.4f}"
        f"{row.megapixels_s:9.2f}{row.tflops:9.3f}{row.percent_of_matmul:9.1f} %"
        f"{row.percent_of_copy:7.1f} %{row.times_plain:9.2f}{row.disagreement:9.1e}{row.passes:8}"
    )


def format_steps(row: "InferenceRow") -> list[str]:
    """Say which steps of a network run fused on a GPU, and which do not."""
    if not row.steps:
        return []
    plain = [name for name, way in row.steps if way != "fused"]
    fused = len(row.steps) - len(plain)
    return [
        f"{row.arch} in {row.precision}: {fused} of {len(row.steps)} kinds of steps fused"
        + (f"; by PyTorch: {', '.join(plain)}" if plain else "")
    ]


def describe_prediction(found: "EndToEnd") -> list[str]:
    """Say how long a prediction from file to file took, and where the time went."""
    percent = found.percent
    return [
        f"predict {describe_shape(found.shape)}, from file to file, {found.model} by "
        f"{found.engine} in {found.precision}",
        f"{found.seconds_per_section:.4f} s a section, {found.times_plain:.2f} times as fast as "
        f"the network in plain PyTorch; all else adds {found.overhead_percent:.1f} %",
        f"the network computes {percent['compute']:.1f} % of the time, and waits "
        f"{percent['rest']:.1f} %; meanwhile reading takes {percent['read']:.1f} %, writing "
        f"{percent['write']:.1f} %",
    ]
