"""`sfseg bench`: its figures fit together; how large they are is the machine's business."""

import contextlib
import dataclasses
import json
import re

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from sfseg import models
from sfseg.benchmark import bench as verb
from sfseg.benchmark import training
from sfseg.benchmark.bench import TrainingRow, bench
from sfseg.cli import app
from sfseg.cli.bench import format_training
from sfseg.config import BenchConfig
from sfseg.errors import DeviceError, MissingExtraError, OptionError, UnknownNameError
from sfseg.models import ARCHITECTURES, build
from sfseg.models.cost import count_flop
from sfseg.prediction.engines import openvino
from sfseg.prediction.engines.int8 import why_no_int8
from sfseg.recipes import DEFAULT
from sfseg.system import compiler, machine
from sfseg.system.devices import has_bf16
from tests.networks import Small

CPU = torch.device("cpu")
HAS_INT8 = why_no_int8() is None
KEYS = ["config", "machine", "rates", "rows", "end_to_end", "training"]
TINY = ("--side", "32", "--repeats", "1", "--device", "cpu")


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *arguments])


@pytest.fixture(scope="module", autouse=True)
def _small_matrices():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "MATMUL_SIDES_ELSEWHERE", (64, 128))
        patch.setattr(machine, "COPY_BYTES", 2**20)
        patch.setattr(verb, "SECTIONS", 2)
        patch.setattr(training, "SECTIONS", 1)
        yield


@contextlib.contextmanager
def small(*archs):
    """Let these be the small network: what is measured of a network is the same of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "ARCHITECTURES", ARCHITECTURES | dict.fromkeys(archs, Small))
        yield patch


@pytest.fixture
def small_networks():
    """Let the networks without shipped weights be small."""
    with small("unet", "fusionnet"):
        yield


@pytest.fixture(scope="module")
def found():
    """What the command says of two networks in two precisions, as JSON and on stderr."""
    archs = ("--arch", "unet", "--arch", "sfnet")
    with small("unet") as patch:
        # bf16 is measured where it is there at all, be it slow
        patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_bf16(torch.device("cpu")))
        result = run(*TINY, *archs, "--engine", "torch", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def rows_of(found, arch):
    return [row for row in found[0]["rows"] if row["arch"] == arch]


def test_json_has_everything_in_one_object(found):
    figures, _ = found
    assert list(figures) == KEYS
    assert figures["config"] == {
        "archs": ["unet", "sfnet"],
        "engines": ["torch"],
        "side_px": 32,
        "repeats": 1,
        "device": "cpu",
        "train": False,
        "recipe": dataclasses.asdict(DEFAULT),
    }
    assert figures["machine"]["threads"] == torch.get_num_threads()
    assert figures["machine"]["gpu"] is None
    assert figures["machine"]["versions"].keys() >= {"python", "sfseg", "torch"}


@pytest.mark.bf16
def test_each_network_runs_plain_first_and_then_in_all_ways(found):
    ways = [("plain", "float32"), ("torch", "float32"), ("torch", "bf16")]
    ways += [("torch", "int8")] * HAS_INT8
    for arch in ("unet", "sfnet"):
        assert [(row["engine"], row["precision"]) for row in rows_of(found, arch)] == ways
    assert [row["arch"] for row in found[0]["rows"]] == ["unet"] * len(ways) + ["sfnet"] * len(ways)


def test_ratios_are_those_of_the_seconds(found):
    best = max(found[0]["rates"]["matmul_tflops"].values())
    for arch in ("unet", "sfnet"):
        plain, *_ = rows = rows_of(found, arch)
        assert plain["times_plain"] == 1
        for row in rows:
            assert row["times_plain"] == pytest.approx(plain["seconds"] / row["seconds"])
            assert row["megapixels_s"] == pytest.approx(32 * 32 / 1e6 / row["seconds"])
            assert row["tflops"] == pytest.approx(row["flop"] / 1e12 / row["seconds"])
            assert row["percent_of_matmul"] == pytest.approx(100 * row["tflops"] / best)
            assert row["passes"] == 1


@pytest.mark.bf16
def test_float32_agrees_with_plain_and_bf16_nearly_does(found):
    for arch in ("unet", "sfnet"):
        plain, exact, fast, *_ = (row["disagreement"] for row in rows_of(found, arch))
        assert plain == 0
        assert exact < 1e-5
        assert 0 < fast < 0.06


def test_the_prediction_is_by_an_engine_that_was_measured_and_its_shares_add_up(found):
    end = found[0]["end_to_end"][0]
    rows = {(row["engine"], row["precision"]): row for row in rows_of(found, "sfnet")}
    ours = {way: row for way, row in rows.items() if way[0] != "plain" and way[1] != "int8"}
    fastest = min(row["seconds"] for row in ours.values())
    assert rows[end["engine"], end["precision"]]["seconds"] == fastest
    assert end["shape"] == [verb.SECTIONS, 32, 32]
    assert end["seconds_per_section"] == pytest.approx(end["seconds"] / verb.SECTIONS)
    plain = rows["plain", "float32"]["seconds"]
    assert end["times_plain"] == pytest.approx(plain / end["seconds_per_section"])
    percent = end["percent"]
    assert list(percent) == ["read", "compute", "write", "rest"]
    assert percent["compute"] + percent["rest"] == pytest.approx(100)
    assert end["overhead_percent"] == pytest.approx(100 * percent["rest"] / percent["compute"])


@pytest.mark.skipif(why_no_int8() is not None, reason="there is no int8 here")
def test_int8_is_predicted_from_file_to_file_too_or_refused_with_a_reason(found):
    figures, said = found
    ways = [(end["engine"], end["precision"]) for end in figures["end_to_end"]]
    refused = "not measured from file to file: precision int8: too far from float32" in said
    assert (("torch", "int8") in ways[1:]) != refused


def test_progress_goes_to_stderr(found):
    assert re.search(r"^\d of \d: measuring unet: torch in float32$", found[1], re.MULTILINE)


@pytest.mark.parametrize(
    ("archs", "train"),
    [(("sfnet",), False), (("unet",), False), (("sfnet",), True)],
)
def test_each_measurement_has_a_number_and_the_last_one_ends_the_work(archs, train):
    recipe = DEFAULT.changed(patch_px=32, batch_size=1)
    reports = []
    config = BenchConfig(archs, side_px=32, repeats=1, device="cpu", train=train, recipe=recipe)
    with small("unet"):
        bench(config, report=lambda *report: reports.append(report))
        flop = {arch: count_flop(build(arch).eval(), 32 * 32) for arch in archs}
    lines, done, totals = zip(*reports, strict=True)
    numbers = [line.partition(":")[0] for line in lines]
    assert numbers == [f"{number} of {len(lines)}" for number in range(1, len(lines) + 1)]
    assert done[:2] == (0, 0)  # the machine is measured first
    assert list(done) == sorted(done)
    last = flop[archs[-1]] * (1 if train or "sfnet" not in archs else verb.SECTIONS)
    assert set(totals) == {done[-1] + last}


def test_the_table_names_the_machine_the_rows_and_the_prediction(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    result = run(*TINY, "--arch", "sfnet", "--engine", "torch")
    assert result.exit_code == 0, result.output
    assert re.search(r"^cpu: .+ threads, .+ GiB free$", result.stdout, re.MULTILINE)
    assert re.search(
        r"^a matrix product: [0-9.]+ TFLOP/s in float32 .*; copy", result.stdout, re.MULTILINE
    )
    assert re.search(r"^sfnet +plain +float32 .* 1\.00 ", result.stdout, re.MULTILINE)
    assert re.search(r"^sfnet +torch +float32 ", result.stdout, re.MULTILINE)
    assert re.search(
        r"^sfnet in int8: [0-9.]+ times as fast as in float32$", result.stdout, re.MULTILINE
    )
    assert "predict 2 sections of 32x32" in result.stdout
    assert "bf16" not in result.stdout  # what the hardware does not have is not measured


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_operations_are_two_for_each_weight_at_each_place_it_is_applied(arch):
    network = build(arch).eval()
    counted = count_flop(network, 48 * 80)
    flop = []

    def count(layer, inputs, output):
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        flop.append(2 * layer.weight.numel() * places.shape[-2:].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, 48, 80))
    assert counted == sum(flop)


def test_openvino_runs_only_if_it_is_asked_for_and_then_needs_its_extra(monkeypatch):
    monkeypatch.setattr(openvino, "has_openvino", lambda: True)
    assert verb._engines(BenchConfig(), CPU, build("sfnet")) == ["torch"]
    monkeypatch.setattr(openvino, "has_openvino", lambda: False)
    with pytest.raises(MissingExtraError):
        bench(BenchConfig(archs=("sfnet",), engines=("openvino",), device="cpu"))


def test_compile_runs_only_if_it_is_asked_for_and_then_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda _name: None)
    assert "compile" not in verb._engines(BenchConfig(), CPU, build("sfnet"))
    with pytest.raises(DeviceError, match=r"C\+\+ compiler"):
        bench(BenchConfig(archs=("sfnet",), engines=("compile",)))


def test_a_pass_that_compiles_is_never_counted():
    calls = iter(["compiles", "warms up", "counts", "counts too"])
    timing = machine.measure(lambda: next(calls), CPU, 2, compiles=True)
    assert timing.passes == 2
    assert timing.value.startswith("counts")


def test_a_slow_pass_is_the_only_one(monkeypatch):
    monkeypatch.setattr(machine, "PATIENCE_S", 0.0)
    timing = machine.measure(iter(["slow", "slower"]).__next__, CPU, 3)
    assert (timing.value, timing.passes) == ("slow", 1)


@pytest.mark.usefixtures("small_networks")
def test_nothing_is_predicted_where_the_network_has_no_weights():
    config = BenchConfig(archs=("unet",), engines=("torch",), side_px=32, repeats=1, device="cpu")
    result = bench(config)
    assert result.end_to_end == ()
    assert {row.arch for row in result.rows} == {"unet"}


@pytest.fixture(scope="module")
def trained():
    """What the command says of the training steps of a network, and the table it makes of them."""
    with small("unet"):
        result = run(*TINY, "--train", "--patch", "32", "--arch", "unet", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_training_is_measured_plain_first_and_then_as_train_does_it(trained):
    figures, said = trained
    assert (figures["rows"], figures["end_to_end"]) == ([], [])
    plain, ours = figures["training"]
    assert (plain["engine"], plain["precision"]) == ("plain", "float32")
    assert ours["engine"] == "torch"
    assert ours["precision"] == machine.precisions(CPU)[-1]
    assert (plain["steps"], ours["steps"]) == (1, 1)
    assert said.index("plain training steps") < said.index("steps of sfseg train, by torch")


@pytest.mark.usefixtures("small_networks")
def test_the_figures_of_training_are_those_of_its_seconds(trained):
    figures, _ = trained
    best = max(figures["rates"]["matmul_tflops"].values())
    pixels = DEFAULT.batch_size * 32 * 32
    plain, _ = figures["training"]
    assert plain["times_plain"] == 1
    assert plain["percent_waiting"] == 0
    for row in figures["training"]:
        assert row["flop"] == 3 * count_flop(build("unet").eval(), pixels)
        assert row["steps_s"] == pytest.approx(1 / row["seconds"])
        assert row["megapixels_s"] == pytest.approx(pixels / 1e6 / row["seconds"])
        assert row["percent_of_matmul"] == pytest.approx(100 * row["tflops"] / best)
        assert row["times_plain"] == pytest.approx(plain["seconds"] / row["seconds"])
        assert 0 <= row["percent_waiting"] < 100
        assert row["schedule_seconds"] == pytest.approx(3456 * row["seconds"])


@pytest.mark.usefixtures("small_networks")
def test_the_steps_of_another_recipe_are_measured_as_it_describes_them():
    result = run(
        *TINY, "--train", "--recipe", "thesis", "--patch", "32", "--arch", "unet", "--json"
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["training"]
    assert [row["engine"] for row in rows] == ["plain", "torch"]
    for row in rows:
        assert (row["recipe"], row["batch_size"]) == ("thesis, changed: patch_px", 2)
        assert row["side_px"] == 32
        assert row["schedule_steps"] == 28_800  # section 4.1 of the thesis, 24 sections
        assert row["schedule_seconds"] == pytest.approx(28_800 * row["seconds"])


def test_the_table_of_training_has_a_line_for_each_way(trained):
    rows = [TrainingRow(**row) for row in trained[0]["training"]]
    title, head, *lines = format_training(rows)
    assert title == (
        "a training step on 4 times 32x32 (recipe default, changed: patch_px); "
        "whole: its 3456 steps on 24 sections"
    )
    assert [line.split()[:3] for line in lines] == [
        [row.arch, row.engine, row.precision] for row in rows
    ]
    assert {len(line) for line in (head, *lines)} == {len(head)}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--side", "40"), "--side: "),
        (("--repeats", "0"), "--repeats: "),
        (("--engine", "eager"), "--engine: "),
        (("--engine", "openvino", "--train"), "--engine openvino "),
        (("--train", "--patch", "40"), "recipe default, changed: patch_px: "),
        (("--train", "--recipe", "student"), "--recipe student "),
        (("--train", "--recipe", "tesis"), "tesis: "),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_hint(wrong, named):
    result = run(*wrong)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {named}")
    assert "\nhint: " in result.stderr


@pytest.mark.parametrize("wrong", [{"side_px": 0}, {"side_px": -16}, {"archs": ()}])
def test_a_configuration_with_nothing_to_measure_is_refused(wrong):
    with pytest.raises(OptionError):
        BenchConfig(**wrong)


def test_an_unknown_architecture_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'sfnet'"):
        bench(BenchConfig(archs=("sfnt",)))
