"""The engine torch on CUDA: fused steps, recorded passes, streams, memory."""

import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from sfseg import models
from sfseg.config import SHIPPED_MODEL, PredictConfig
from sfseg.errors import NonFiniteError
from sfseg.io import read_labels, write_stack
from sfseg.models.weights import load_weights
from sfseg.prediction import plan as plans
from sfseg.prediction.engines import graphs, make_engine, probe
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.engines.fold import fold
from sfseg.prediction.engines.fused import Fused
from sfseg.prediction.engines.gpu import measure_bytes
from sfseg.prediction.engines.operations import Target, find_kernels, kernels, unique
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.predict import predict_job
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.windows import Window
from sfseg.scoring.score import score
from sfseg.system.devices import start_gpus
from sfseg.system.threads import call_beside
from sfseg.transforms.normalise import measure_section
from tests.networks import OPERATIONS, make_operation

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
GIB = 2**30

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda")


@pytest.fixture(scope="module")
def shipped():
    return load_weights(SHIPPED_MODEL)[0]


def sections(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


# --- the steps


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("side", [2, 6, 50])
def test_a_kernel_computes_what_its_reference_does(cuda, name, dtype, side):
    target = Target(cuda, dtype)
    if find_kernels(target) is None:
        pytest.skip("no kernels here")
    assert probe.agrees(make_operation(name, target), side)


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_every_step_of_each_network_agrees_with_its_reference(cuda, arch, dtype):
    fused = Fused(fold(models.build(arch).eval()), Target(cuda, dtype))
    with torch.inference_mode():
        for key, (operation, *_) in unique(fused.operations()).items():
            if operation.can_fuse:  # cuDNN may take another algorithm for large sections
                assert probe.agrees(operation, 16), key
                assert probe.agrees(operation, 128), key


def test_another_size_of_tile_compiles_nothing(cuda, shipped):
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")
    engine = torch_engine(shipped, cuda, F16)
    engine(sections(2, 64, 64))
    every = [getattr(kernels(), name) for name in ("_first", "_squeeze", "_double", "_output")]
    before = [_compiled(kernel) for kernel in every]
    for shape in ((1, 16, 16), (3, 48, 80), (2, 128, 32)):
        engine(sections(*shape))
    assert [_compiled(kernel) for kernel in every] == before


def _compiled(kernel):
    """Count the versions of a kernel that were compiled; Triton keeps them by device."""
    return sum(len(of_device[0]) for of_device in kernel.device_caches.values())


@pytest.mark.parametrize("value", [1e7, np.inf, np.nan])
@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_fp16_refuses_what_is_too_much_for_it(cuda, arch, value):
    engine = torch_engine(models.build(arch).eval(), cuda, F16)
    batch = sections(2, 64, 64)
    assert np.isfinite(engine(batch)).all()
    batch[1, 20, 20] = value
    with pytest.raises(NonFiniteError, match="use --precision bf16"):
        engine(batch)
    batch[1, 20, 20] = 0
    assert np.isfinite(engine(batch)).all()  # the flag is of one pass only


def test_a_gpu_is_started_twice_at_the_same_time(cuda):
    begun = [call_beside(lambda: start_gpus([cuda])) for _ in range(2)]
    for each in begun:
        each.result(timeout=60)
    assert torch.cuda.is_initialized()


# --- the passes


@pytest.mark.parametrize(("dtype", "off"), [(F32, 2e-3), (F16, 0.01), (BF16, 0.06)], ids=str)
@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_the_gpu_gives_the_numbers_of_the_network(cuda, arch, dtype, off):
    network, batch = models.build(arch).eval(), sections(2, 64, 96)
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(batch)[:, None]))[:, 0].numpy()
    engine = torch_engine(network, cuda, dtype)
    for _ in range(3):  # run, recorded, replayed
        np.testing.assert_allclose(engine(batch), expected, atol=off, rtol=0)


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
def test_a_replay_is_equal_to_the_bit_and_shapes_may_take_turns(cuda, shipped, dtype):
    engine = torch_engine(shipped, cuda, dtype)
    batches = [sections(*shape) for shape in ((1, 64, 64), (3, 48, 80), (2, 64, 64))]
    first = [engine(batch) for batch in batches]
    for _ in range(3):
        for batch, expected in zip(batches, first, strict=True):
            np.testing.assert_array_equal(engine(batch), expected)


def test_more_shapes_than_are_kept_are_recorded_again(cuda, shipped, monkeypatch):
    monkeypatch.setattr(graphs, "MOST_SHAPES", 2)
    engine = torch_engine(shipped, cuda, F16)
    batches = [sections(1, 16 * n, 64) for n in range(1, 6)]
    first = [engine(batch) for batch in batches]
    for _ in range(2):
        for batch, expected in zip(batches, first, strict=True):
            np.testing.assert_array_equal(engine(batch), expected)
            np.testing.assert_array_equal(engine(batch), expected)


def test_what_cannot_be_recorded_runs_all_the_same(cuda, shipped, monkeypatch):
    batch = sections(2, 64, 64)
    expected = torch_engine(shipped, cuda, F16)(batch)
    monkeypatch.setattr(graphs, "MOST_SHARE", 0.0)
    engine = torch_engine(shipped, cuda, F16)
    for _ in range(3):
        np.testing.assert_array_equal(engine(batch), expected)


@pytest.mark.parametrize("tta", ["none", "d4"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32], ids=str)
def test_the_work_on_the_gpu_gives_the_numbers_of_the_host(cuda, shipped, kind, tta):
    engine = torch_engine(shipped, cuda, F16)
    sections = np.random.default_rng(3).integers(0, 200, (3, 128, 160)).astype(kind)
    sections[0, :40] = 0  # a border
    windows = [Window(one, (n := measure_section(one)).mask(one), n) for one in sections]
    keep = slice(16, 112), slice(0, 96)
    there = Predictor(engine, 80, tta=tta, batch=3)
    here = Predictor(engine.run, 80, tta=tta, batch=3)
    for _ in range(3):
        for found, expected in zip(
            there.predict(windows, keep), here.predict(windows, keep), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_threads_share_an_engine(cuda, shipped):
    engine = torch_engine(shipped, cuda, F16)
    batches = [sections(2, 64, 64 + 16 * n) for n in range(4)]
    expected, found = [engine(batch) for batch in batches], {}

    def run(number):
        found[number] = [engine(batches[number]) for _ in range(10)]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, one in enumerate(expected):
        for other in found[number]:
            np.testing.assert_array_equal(other, one)


def test_a_pass_on_another_stream_takes_and_gives_tensors_there(cuda, shipped):
    engine = torch_engine(shipped, cuda, F16)
    batch = sections(2, 128, 128)
    expected = engine(batch)
    stream = torch.cuda.Stream()
    for _ in range(4):
        with torch.cuda.stream(stream):
            probability, overflow = engine.forward(torch.from_numpy(batch).to(cuda))
            found = probability.cpu()
        np.testing.assert_array_equal(found.numpy(), expected)
        assert overflow.item() == 0


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_a_section_does_not_depend_on_its_neighbours_in_the_batch(cuda, shipped, dtype):
    """To the bit in a batch of the same size; in one of another size cuDNN may round otherwise."""
    engine = torch_engine(shipped, cuda, dtype)
    batch = sections(4, 128, 128)
    together = engine(batch)
    others = sections(4, 128, 128)[::-1].copy()
    others[2] = batch[2]
    np.testing.assert_array_equal(engine(others)[2], together[2])
    alone = np.concatenate([engine(one[None]) for one in batch])
    np.testing.assert_allclose(together, alone, atol=0.01 if dtype == F16 else 0.06, rtol=0)


# --- memory


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_the_memory_of_a_pass_is_measured(cuda, arch):
    fused = Fused(fold(models.build(arch).eval()), Target(cuda, F16))
    with torch.inference_mode():
        each = measure_bytes(fused, cuda)
        x = torch.zeros(2, 1024, 1024, device=cuda)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        fused(x)
        torch.cuda.synchronize()
    used = (torch.cuda.max_memory_allocated() - before) / x.numel()
    assert 0.8 * each < used + 4 <= 1.05 * each


@pytest.fixture
def card_of(cuda):
    """Let the GPU have as little memory as is said."""

    def restrict(gib):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(gib * GIB / torch.cuda.mem_get_info(cuda)[1])

    yield restrict
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_card_of_8_gib_takes_sections_of_4096(card_of, monkeypatch, tmp_path):
    card_of(8)
    monkeypatch.setattr(plans, "available_bytes", lambda _: int(7.5 * GIB))
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    pixels = np.random.default_rng(1).integers(0, 256, (1, 4096, 4096), dtype=np.uint8)
    write_stack(source, pixels)
    said, config = [], PredictConfig(device="cuda", precision="fp16", dtype="uint8")
    result = predict_job(Job(str(source), out), Model.load(config), config, say=said.append)
    assert 1 <= result.tiles <= 9
    assert not any("out of memory" in line for line in said)


def test_memory_that_runs_out_makes_batches_and_tiles_smaller(cuda, small_network, card_of):
    engine, said = torch_engine(small_network, cuda, F32), []
    section = np.random.default_rng(0).integers(0, 256, (2048, 2048), dtype=np.uint8)
    whole = Predictor(engine, 80, tta="flips")(section)
    card_of(0.15)
    tiled = Predictor(engine, 80, batch=4, tta="flips", say=said.append)(section)
    assert any("smaller batches" in line for line in said)
    assert any("smaller tiles" in line for line in said)
    np.testing.assert_allclose(tiled, whole, atol=1e-3, rtol=0)


# --- what comes of it


def test_the_score_of_the_sample_is_that_of_float32():
    import sfseg

    volume = sfseg.open_stack(SAMPLE / "volume.tif").read()
    labels = read_labels(SAMPLE / "labels.tif")
    scores = {}
    for precision in ("float32", "fp16", "bf16"):
        probability = sfseg.predict(volume, device="cuda", precision=precision)
        scores[precision] = score(probability, labels).v_rand
    assert scores["fp16"] == pytest.approx(scores["float32"], abs=1e-3)
    assert scores["bf16"] == pytest.approx(scores["float32"], abs=1e-3)


def test_auto_takes_fp16(cuda, shipped):
    engine, chosen = make_engine(shipped, cuda)
    assert engine.dtype == F16
    assert 0 < chosen.disagreement < 0.01
    assert chosen.notice == ""
