"""Measure everything that a GPU changes, in less than six minutes, into a folder.

::

    python -m tests.gpu $OUT                  # on a machine with a GPU
    python -m tests.gpu /tmp/out --try        # on a CPU, with tiny sizes: does the script work?

Writes ``gpu.json`` and ``gpu.txt`` after each part, so that what is done is there if time runs out.
A part that fails is noted, and the next one runs.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from sfseg.config import SHIPPED_MODEL
from sfseg.datasets.synthetic import make_tissue
from sfseg.io import write_stack
from sfseg.models import ARCHITECTURES, build
from sfseg.models.weights import load_weights
from sfseg.system.devices import has_fast_fp16
from sfseg.system.machine import describe_machine, measure_rates
from tests.gpu.steps import profile_kernels, time_passes, time_steps

TESTS_S, BENCH_S, PREDICT_S = 120, 90, 60
"""Most seconds of the tests, of the bench, and of one prediction from file to file."""


@dataclass
class Sizes:
    """What is measured."""

    batches: tuple[tuple[int, int, int], ...]
    stack: tuple[int, int, int]
    side: int


REAL = Sizes(((8, 640, 640), (16, 512, 512), (1, 2048, 2048), (1, 512, 512)), (48, 2048, 2048), 640)
TINY = Sizes(((2, 32, 48),), (2, 64, 64), 32)


@dataclass
class Report:
    """Figures and lines, written to the folder after each part."""

    folder: Path
    figures: dict = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def part(self, name, measure):
        """Measure one part; an error is noted in its place."""
        began = time.perf_counter()
        self.say(f"\n== {name}")
        try:
            self.figures[name] = measure()
        except Exception as error:  # noqa: BLE001 - the other parts are still wanted
            self.figures[name] = f"failed: {error!r}"
            self.say(traceback.format_exc())
        self.say(f"({time.perf_counter() - began:.1f} s)")
        text = json.dumps(self.figures, indent=1, default=str)
        (self.folder / "gpu.json").write_text(text)
        (self.folder / "gpu.txt").write_text("\n".join(self.lines) + "\n")

    def say(self, line):
        print(line, flush=True)  # noqa: T201 - a script
        self.lines.append(line)


def command(*arguments, limit_s):
    """Run a module of Python; return its exit status, its output and its seconds."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return 124, str(expired.stdout or b""), "took too long", limit_s
    return done.returncode, done.stdout, done.stderr, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--try", dest="tiny", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not given.tiny:
        parser.error("there is no GPU; --try runs tiny sizes on the CPU")
    measure_all(Report(given.folder), TINY if given.tiny else REAL, device)


def measure_all(report, sizes, device):
    """Measure part after part, the most wanted first."""
    dtypes = [torch.float16, torch.bfloat16] if has_fast_fp16(device) else [torch.float32]
    rates = measure_rates(device)
    report.figures["machine"] = asdict(describe_machine(device))
    report.figures["rates"] = asdict(rates)
    report.say(f"{report.figures['machine']}\n{rates}")

    def passes():
        networks = {arch: build(arch).eval() for arch in ARCHITECTURES}
        networks["sfnet"] = load_weights(SHIPPED_MODEL)[0]
        rows = []
        for arch in ("sfnet", "unet", "fusionnet"):
            for shape in sizes.batches if arch == "sfnet" else sizes.batches[1:2]:
                for dtype in dtypes:
                    rows.append(time_passes(arch, networks[arch], shape, dtype, device, rates))
                    report.say(
                        "{arch:10} {precision:8} {shape:12} {ms:9.3f} ms {mpx_s:9.2f} MP/s "
                        "{percent_of_matmul:6.1f} % of matmul, {bytes_per_px} B/px".format(
                            **rows[-1]
                        )
                    )
        return rows

    def steps():
        found = {}
        for shape in sizes.batches[:3]:
            for dtype in dtypes:
                rows = time_steps(shape, dtype, device, rates)
                found[f"{shape} {dtype}"] = [asdict(row) for row in rows]
                report.say(f"\n{shape} {dtype}\n{HEAD}")
                for row in rows:
                    report.say(STEP.format(**asdict(row)))
        return found

    def profile():
        report.say(profile_kernels(sizes.batches[-2:][0], dtypes[0], device))

    def tests():
        arguments = (
            "-m",
            "gpu",
            "-n",
            "0",
            "-q",
            "--maxfail=20",
            "tests/prediction",
            "tests/training",
        )
        status, out, err, seconds = command("pytest", *arguments, limit_s=TESTS_S)
        report.say(out[-3000:] + err[-1000:])
        return {"status": status, "seconds": seconds}

    def bench():
        arguments = ("bench", "--json", "--side", sizes.side, "--device", device.type)
        status, out, err, _ = command(
            "sfseg", *arguments, "--arch", "sfnet", "--repeats", 5, limit_s=BENCH_S
        )
        if status:
            raise RuntimeError(err)
        figures = json.loads(out)
        for row in figures["rows"]:
            report.say(
                "{engine:8} {precision:8} {sections:4} sections {megapixels_s:9.2f} MP/s "
                "{percent_of_matmul:6.1f} % of matmul {percent_of_copy:6.1f} % of copy "
                "off by {disagreement:.1e}".format(**row)
            )
        report.say(str(figures["end_to_end"]))
        return figures

    def start():
        return measure_start(report, device)

    def files():
        return measure_files(report, sizes, device)

    for part in (passes, steps, profile, start, files, bench, tests):
        report.part(part.__name__, part)


HEAD = (
    f"{'step':34}{'way':9}{'pixels':>9}{'calls':>6}{'ms':>9}{'GB/s':>9}{'of copy':>9}"
    f"{'TFLOP/s':>9}{'of matmul':>10}"
)
STEP = (
    "{name:34}{way:9}{pixels:9}{count:6}{ms:9.3f}{gb_s:9.1f}{percent_of_copy:8.1f}%"
    "{tflops:9.2f}{percent_of_matmul:9.1f}%"
)


def measure_start(report, device):
    """Predict one small section by the real command, three times: seconds beyond `import torch`."""
    with TemporaryDirectory(dir=report.folder) as folder:
        return list(starts(report, device, Path(folder)))


def starts(report, device, folder):
    """Yield the seconds of each of three runs."""
    source = folder / "in.tif"
    write_stack(source, make_tissue((1, 512, 512))[0])
    for turn in range(3):
        torch_s = command("torch.version", limit_s=PREDICT_S)[3]  # imports torch, and does nothing
        out = folder / f"out{turn}.tif"
        options = ("-o", out, "--device", device.type)
        status, _, err, process_s = command("sfseg", "predict", source, *options, limit_s=PREDICT_S)
        if status:
            raise RuntimeError(err)
        report.say(
            f"import torch {torch_s:.2f} s, one section of 512x512 {process_s:.2f} s: "
            f"{process_s - torch_s:.2f} s beyond it"
        )
        yield {"import_torch_s": torch_s, "process_s": process_s}


def measure_files(report, sizes, device):
    """Predict a stack from file to file by the real command, as TIFF and as Zarr, twice each."""
    with TemporaryDirectory(dir=report.folder) as folder:
        return list(predictions(report, sizes, device, Path(folder)))


def predictions(report, sizes, device, folder):
    """Yield the figures of each run."""
    tissue, _ = make_tissue((1, *sizes.stack[1:]))
    stack = np.repeat(tissue, sizes.stack[0], axis=0)
    stack += np.arange(len(stack), dtype=np.uint8)[:, None, None]  # no two are equal
    for suffix in (".tif", ".zarr"):
        source = folder / f"in{suffix}"
        write_stack(source, stack)
        for turn in range(2):
            out = folder / f"out{turn}{suffix}"
            options = ("--dtype", "uint8", "--device", device.type)
            status, _, err, seconds = command(
                "sfseg", "predict", source, "-o", out, *options, limit_s=PREDICT_S
            )
            if status:
                raise RuntimeError(err)
            record = json.loads(Path(f"{out}.json").read_text())
            row = {
                "format": suffix,
                "turn": turn,
                "process_s": seconds,
                "seconds": record["seconds"],
                "stages": record["stages"],
                "mpx_s": stack.size / record["seconds"] / 1e6,
                "resolved": record["identity"]["resolved"],
            }
            report.say(str(row))
            yield row


if __name__ == "__main__":
    main()
