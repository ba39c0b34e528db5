"""Prediction from file to file: what is written, and what a stop, a kill or an error leaves."""

import contextlib
import errno
import json
import os
import re
import threading
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import torch
from skimage.measure import label
from typer.testing import CliRunner

from sfseg import cli
from sfseg.config import SHIPPED_MODEL, PredictConfig
from sfseg.errors import (
    NonFiniteError,
    OptionError,
    OutputError,
    OutputExistsError,
    ResumeError,
    StackError,
)
from sfseg.io import hash_input, open_stack, write_stack
from sfseg.io.canvas import Canvas
from sfseg.io.guards import translate_errors
from sfseg.io.tiff.strips import ChunkReader
from sfseg.models import STRIDE
from sfseg.models.weights import Header
from sfseg.prediction import plan
from sfseg.prediction import run as prediction
from sfseg.prediction.destination import touched_paths
from sfseg.prediction.engines import Choice, Engine
from sfseg.prediction.engines.eager import torch_engine
from sfseg.prediction.gaps import close_gaps
from sfseg.prediction.jobs import Job, make_jobs
from sfseg.prediction.model import Model
from sfseg.prediction.predict import Failure, predict_file, predict_files, predict_job
from sfseg.prediction.predictor import Predictor
from sfseg.prediction.run import PredictResult
from sfseg.prediction.tiles import halo_px
from sfseg.system.files import remove

CPU, F32, BF16 = torch.device("cpu"), torch.float32, torch.bfloat16


def grey(batch):
    """Stand for a network: the brighter it is around, the more probably interior."""
    around = np.pad(batch, ((0, 0), (1, 1), (1, 1)))
    total = around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + 2 * batch
    return total / (1 + np.abs(total)) / 2 + np.float32(0.5)


MODEL = Model(
    torch.nn.Identity(),
    Header(arch="sfnet", recipe="default"),
    (Engine("torch", CPU, F32, grey, bytes_per_px=8),),
    Choice("torch", "float32"),
    halo_px=16,
    weights_sha256="0" * 64,
)
TILED = {"tile_px": 32}
PATIENCE_S = 20


@pytest.fixture
def volume(tissue_files):
    return tissue_files / "volume.tif"


@pytest.fixture
def small(tissue, tmp_path):
    """Three sections of 90x90, four tiles of 32 px each: 12 pieces."""
    path = tmp_path / "small.tif"
    stack = tissue[0][:3, :90, :90]
    write_stack(path, stack, voxel_size_nm=(50, 4, 4))
    return path


def run(source, out, ready=MODEL, *, report=lambda _: None, say=lambda _: None, **options):
    return predict_job(
        Job(str(source), out), ready, PredictConfig(**options), report=report, say=say
    )


def content(path):
    """Give the bytes of a file, or of all the files of a folder."""
    if path.is_file():
        return path.read_bytes()
    files = (inner for inner in sorted(path.rglob("*")) if inner.is_file())
    return {str(inner.relative_to(path)): inner.read_bytes() for inner in files}


def names(folder, pattern="out*"):
    return sorted(path.name for path in folder.glob(pattern))


# --- what is written


def test_the_output_is_float32_with_the_voxel_size_of_the_input(volume, tmp_path):
    result = run(volume, tmp_path / "out.tif")
    with open_stack(tmp_path / "out.tif") as stack:
        assert stack.shape == result.shape == (4, 96, 112)
        assert stack.dtype == np.float32
        assert stack.voxel_size_nm == (50, 4, 4)
        assert 0 <= stack.read().min() <= stack.read().max() <= 1
    with tifffile.TiffFile(tmp_path / "out.tif") as file:  # another reader finds it as well
        assert file.is_imagej
        assert file.imagej_metadata["spacing"] in (50, 0.05)


def test_each_section_is_what_the_predictor_makes_of_it(volume, tissue, tmp_path):
    result = run(volume, tmp_path / "out.tif", **TILED)
    expected = np.stack([Predictor(grey, 16)(section) for section in tissue[0]])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)
    assert result.interior_share == pytest.approx(expected.mean(dtype=np.float64), rel=1e-9)
    assert result.tiles == 4 * 2 * 3
    assert result.resumed == result.blank_sections == 0
    assert result.stages.keys() == {"read_s", "compute_s", "write_s"}


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_integers_map_one_to_their_maximum(volume, tmp_path, dtype, top):
    run(volume, tmp_path / "f.tif")
    run(volume, tmp_path / "i.tif", dtype=dtype)
    exact, scaled = (tifffile.imread(tmp_path / name) for name in ("f.tif", "i.tif"))
    assert scaled.dtype == dtype
    np.testing.assert_allclose(scaled / top, exact, atol=0.5 / top + 1e-6)


def test_binary_is_255_where_the_probability_exceeds_the_threshold(volume, tmp_path):
    run(volume, tmp_path / "p.tif")
    run(volume, tmp_path / "b.tif", output="binary", threshold=0.7)
    probability, binary = (tifffile.imread(tmp_path / name) for name in ("p.tif", "b.tif"))
    np.testing.assert_array_equal(binary, np.where(probability.astype(float) > 0.7, 255, 0))


def test_segments_are_the_components_of_each_section_numbered_through(volume, tmp_path):
    run(volume, tmp_path / "b.tif", output="binary")
    run(volume, tmp_path / "s.tif", output="segments")
    binary, segments = (tifffile.imread(tmp_path / name) for name in ("b.tif", "s.tif"))
    assert segments.dtype == np.int32
    np.testing.assert_array_equal(segments > 0, binary > 0)
    numbered = 0
    for section, mask in zip(segments, binary, strict=True):
        count = label(mask > 0, connectivity=1, return_num=True)[1]
        assert sorted(set(section.ravel()) - {0}) == list(range(numbered + 1, numbered + count + 1))
        numbered += count


def test_gaps_are_closed_in_each_whole_section(volume, tmp_path):
    run(volume, tmp_path / "as_is.tif")
    result = run(volume, tmp_path / "closed.tif", close_gaps=True, **TILED)
    as_is, closed = (tifffile.imread(tmp_path / name) for name in ("as_is.tif", "closed.tif"))
    np.testing.assert_array_equal(closed, np.stack([close_gaps(section) for section in as_is]))
    assert not np.array_equal(closed, as_is)
    assert result.interior_share == pytest.approx(as_is.mean(dtype=np.float64), rel=1e-9)
    run(volume, tmp_path / "s.tif", close_gaps=True, output="segments", threshold=0.6)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "s.tif") > 0, closed > 0.6)


KINDS = [
    {},
    {"dtype": "uint8"},
    {"dtype": "uint16", "tta": "flips"},
    {"output": "binary", "threshold": 0.4},
    {"output": "segments"},
    {"close_gaps": True, "dtype": "uint8"},
    {"close_gaps": True, "output": "segments"},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_tiles_and_whole_sections_make_the_same_bytes(small, tmp_path, options, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    out = f"out{suffix}"  # an OME file knows its name
    for folder, tiles in (("whole", {}), ("tiled", TILED)):
        result = run(small, tmp_path / folder / out, **options, **tiles)
        assert result.tiles == (12 if tiles else 3)
    assert content(tmp_path / "whole" / out) == content(tmp_path / "tiled" / out)


@pytest.mark.parametrize("options", [{}, {"output": "segments"}], ids=str)
def test_a_zarr_holds_the_pixels_of_the_tiff(small, tmp_path, options):
    pytest.importorskip("zarr")
    run(small, tmp_path / "out.tif", **options)
    result = run(small, tmp_path / "out.zarr", multiscale=True, **options, **TILED)
    with open_stack(tmp_path / "out.zarr") as stack:
        np.testing.assert_array_equal(stack.read(), tifffile.imread(tmp_path / "out.tif"))
        assert stack.voxel_size_nm == (50, 4, 4)
    assert result.voxel_size_nm == (50, 4, 4)
    assert json.loads((tmp_path / "out.zarr.json").read_text())["identity"]["options"]["multiscale"]


def test_levels_are_for_a_zarr_only(small, tmp_path):
    with pytest.raises(OptionError, match=r"\.zarr"):
        run(small, tmp_path / "out.tif", multiscale=True)
    assert names(tmp_path) == []


def test_a_folder_of_png_becomes_one_file(tissue, tmp_path):
    (tmp_path / "sections").mkdir()
    for number in (1, 2, 10):
        imageio.imwrite(tmp_path / "sections" / f"{number}.png", tissue[0][number % 4])
    result = run(tmp_path / "sections", tmp_path / "out.tif")
    assert result.shape == (3, 96, 112)
    expected = Predictor(grey, 16)(tissue[0][10 % 4])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[2], expected)


def test_an_array_in_hdf5_is_predicted_as_the_tiff_is(small, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["volumes/raw"] = tifffile.imread(small)
    run(f"{tmp_path / 'v.h5'}:/volumes/raw", tmp_path / "h5.tif", **TILED)
    run(small, tmp_path / "tif.tif")
    images = [tifffile.imread(tmp_path / name) for name in ("h5.tif", "tif.tif")]
    np.testing.assert_array_equal(*images)


def test_blank_sections_are_counted_once_however_many_tiles_they_have(tmp_path, tissue):
    stack = tissue[0][:3, :90, :90].copy()
    stack[1] = 7
    write_stack(tmp_path / "in.tif", stack)
    assert run(tmp_path / "in.tif", tmp_path / "out.tif", **TILED).blank_sections == 1


def test_the_work_to_do_is_reported_before_each_tile(small, tmp_path):
    seen = []
    run(small, tmp_path / "out.tif", report=seen.append, **TILED)
    assert [record.done for record in seen] == list(range(13))
    assert {record.total for record in seen} == {12}
    assert [record.seconds_left is None for record in seen] == [True] + [False] * 12
    assert seen[-1].seconds_left == 0
    assert "4 tiles of " in str(seen[0].plan)


def test_the_record_beside_the_output_says_how_it_was_made(small, tmp_path):
    run(small, tmp_path / "out.tif", output="segments", threshold=0.4, **TILED)
    record = json.loads((tmp_path / "out.tif.json").read_text())
    assert record["schema"] == 1
    assert record["input"] == {
        "source": str(small),
        "description": "3 sections of 90x90, uint8, voxel 50x4x4 nm",
        "voxel_size_nm": [50, 4, 4],
    }
    assert record["model"] == SHIPPED_MODEL
    assert record["device"].startswith("cpu (")
    assert (record["pieces"], record["resumed"], record["blank_sections"]) == (12, 0, 0)
    assert 0 < record["interior_share"] < 1
    identity = record["identity"]
    assert identity["input"]["sha256"] == hash_input(small)
    assert identity["weights"]["sha256"] == MODEL.weights_sha256
    assert record["output"] == {"sha256": hash_input(tmp_path / "out.tif")}
    assert identity["options"]["threshold"] == 0.4
    assert identity["options"]["dtype"] == "int32"
    assert identity["resolved"]["engine"] == "torch"
    assert names(tmp_path) == ["out.tif", "out.tif.json"]


# --- what a stop leaves, and how it is resumed


def stop_at(piece, error=KeyboardInterrupt):
    """Make a report that stops when some tiles are done."""

    def report(record):
        if record.done == piece:
            raise error

    return report


OUTPUTS = [
    ("out.tif", {}),
    ("out.tif", {"output": "segments"}),
    ("out.zarr", {"dtype": "uint8", "multiscale": True}),
    ("out.zarr", {"output": "segments"}),
    ("out.tif", {"close_gaps": True}),
]


@pytest.mark.parametrize(("name", "options"), OUTPUTS, ids=str)
def test_a_run_stopped_at_any_tile_and_resumed_makes_the_same_bytes(small, tmp_path, name, options):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    options = options | TILED
    run(small, tmp_path / "whole" / name, **options)
    for piece in range(13):
        folder, told = tmp_path / f"{piece}", []
        out = folder / name
        with pytest.raises(KeyboardInterrupt):
            run(small, out, report=stop_at(piece), say=told.append, **options)
        kept = piece > 0
        assert (folder.exists() and names(folder) != []) == kept
        assert any("to continue, add --resume" in sentence for sentence in told) == kept
        assert not out.exists()
        result = run(small, out, resume=True, **options)
        # a section that has to be whole comes from all of its four tiles
        by_section = PredictConfig(**options).needs_sections
        least = piece // 4 * 4 if by_section else min(piece, 1)
        assert result.resumed >= least
        assert result.tiles == 12
        assert content(out) == content(tmp_path / "whole" / name)
        assert names(folder, "*") == [name, f"{name}.json"]


def test_finished_tiles_are_not_computed_again(small, tmp_path):
    computed = []

    def counting(batch):
        computed.append(batch.shape)
        return grey(batch)

    model = replace(MODEL, engines=(replace(MODEL.engine, run=counting),))
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "out.tif", model, report=stop_at(7), **TILED)
    computed.clear()
    result = run(small, tmp_path / "out.tif", model, resume=True, **TILED)
    assert len(computed) == 12 - result.resumed <= 5


@pytest.mark.parametrize("options", [{}, {"output": "segments"}, {"close_gaps": True}], ids=str)
def test_several_devices_share_a_stack_out_and_write_the_same_bytes(small, tmp_path, options):
    """Each of two devices, and several threads beside them."""
    one, two = (tmp_path / name / "out.tif" for name in ("one", "two"))
    run(small, one, **options, **TILED)
    computed = []

    def noting(name):
        def compute(batch):
            computed.append(name)
            return grey(batch)

        return compute

    engines = tuple(replace(MODEL.engine, run=noting(name)) for name in "ab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "workers", lambda _engine: 3)
        patch.setattr(plan, "passes", lambda _engine: 2)
        run(small, two, replace(MODEL, engines=engines), **options, **TILED)
    assert content(two) == content(one)
    assert (set(computed), len(computed)) == (set("ab"), 12)


def test_a_stop_with_several_devices_keeps_finished_tiles(small, tmp_path):
    model = replace(MODEL, engines=(MODEL.engine, MODEL.engine, MODEL.engine))
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "out.tif", model, report=stop_at(7), **TILED)
    result = run(small, tmp_path / "out.tif", model, resume=True, **TILED)
    assert result.resumed
    run(small, tmp_path / "whole.tif", **TILED)
    assert content(tmp_path / "out.tif") == content(tmp_path / "whole.tif")


def test_segments_are_numbered_on_across_a_stop_between_sections(small, tmp_path):
    run(small, tmp_path / "whole.tif", output="segments")
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "out.tif", output="segments", report=stop_at(1))
    assert run(small, tmp_path / "out.tif", output="segments", resume=True).resumed == 1
    found = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "whole.tif"))
    assert found[0].max() < found[1][found[1] > 0].min()


def test_a_stop_before_the_first_tile_leaves_nothing(volume, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(volume, tmp_path / "new" / "out.tif", report=stop_at(0))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        (r'("resolved": .*)"float32"', r'\1"float33"'),
        (r'"limit_px": ', '"limit_px": "many", "more": '),
        (r'"blank": ', '"black": '),
        (r'"interior": ', '"interior": "half", "more": '),
    ],
)
def test_a_damaged_list_of_tiles_is_refused(small, tmp_path, sound, damaged):
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "out.tif", report=stop_at(2), **TILED)
    manifest = tmp_path / "out.tif.part.manifest"
    text, count = re.subn(sound, damaged, manifest.read_text())
    assert count > 0
    manifest.write_text(text)
    with pytest.raises(ResumeError, match=r"finished tiles .* is damaged\nhint: run without"):
        run(small, tmp_path / "out.tif", resume=True, **TILED)


def test_without_resume_a_stopped_run_starts_again(small, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "out.tif", report=stop_at(5), **TILED)
    assert run(small, tmp_path / "out.tif", **TILED).resumed == 0
    assert names(tmp_path) == ["out.tif", "out.tif.json"]


def test_resuming_what_is_finished_does_nothing_and_says_so(small, tmp_path):
    out = tmp_path / "out.tif"
    first = run(small, out, **TILED)
    before = out.stat()
    again = run(small, out, report=stop_at(0), resume=True, **TILED)
    assert again.resumed == again.tiles == first.tiles == 12
    assert again.interior_share == first.interior_share
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_lock_of_a_run_killed_when_all_was_done_is_removed(small, tmp_path):
    run(small, tmp_path / "out.tif")
    (tmp_path / "out.tif.part.lock").touch()
    assert run(small, tmp_path / "out.tif", resume=True).resumed == 3
    assert names(tmp_path) == ["out.tif", "out.tif.json"]


def test_where_an_output_and_an_unfinished_one_lie_the_hint_continues_the_unfinished(
    small, tmp_path
):
    out = tmp_path / "out.tif"
    run(small, out, **TILED)
    with pytest.raises(KeyboardInterrupt):
        run(small, out, report=stop_at(7), overwrite=True, dtype="uint8", **TILED)
    for options in ({}, {"resume": True}):
        with pytest.raises(OutputExistsError, match="--resume --overwrite continues"):
            # with --resume the output itself may be the finished one, so it is found later
            run(small, out, dtype="uint8", **options, **TILED)
    with pytest.raises(OutputExistsError, match="--resume --overwrite continues"):
        make_jobs([str(small)], out)
    result = run(small, out, dtype="uint8", resume=True, overwrite=True, **TILED)
    assert result.resumed
    assert tifffile.imread(out).dtype == np.uint8


def test_resuming_what_is_finished_otherwise_is_refused(small, tmp_path):
    out = tmp_path / "out.tif"
    run(small, out)
    before = out.read_bytes()
    with pytest.raises(ResumeError, match=r'options\.tta: "none" -> "d4"'):
        run(small, out, tta="d4", resume=True)
    assert out.read_bytes() == before
    run(small, out, dtype="uint8", resume=True, overwrite=True)
    assert tifffile.imread(out).dtype == np.uint8


def test_resuming_onto_a_file_of_another_s_is_refused(small, tmp_path):
    (tmp_path / "out.tif").write_text("precious")
    with pytest.raises(OutputExistsError):
        run(small, tmp_path / "out.tif", resume=True)
    assert (tmp_path / "out.tif").read_text() == "precious"


CHANGES = {
    "output": "segments",
    "dtype": "uint8",
    "tta": "flips",
    "device": "cpu",
    "engine": "torch",
    "precision": "float32",
    "tile_px": 48,
    "axes": "ZYX",
    "multiscale": True,
    "threshold": 0.25,
}


@pytest.mark.parametrize("finished", [False, True])
def test_resume_refuses_what_has_changed_and_names_it(small, tmp_path, finished):
    pytest.importorskip("zarr")
    out, old = tmp_path / "out.zarr", TILED
    binary = tmp_path / "binary.zarr"
    for path, options in ((out, old), (binary, {**old, "output": "binary"})):
        stopped = contextlib.nullcontext() if finished else pytest.raises(KeyboardInterrupt)
        with stopped:
            run(small, path, report=stop_at(20 if finished else 6), **options)
    before = content(tmp_path)
    for key, value in CHANGES.items():
        path = binary if key == "threshold" else out
        options = {**old, "output": "binary"} if key == "threshold" else old
        with pytest.raises(ResumeError, match=rf"  options\.{key}: ") as error:
            run(small, path, resume=True, **(options | {key: value}))
        assert json.dumps(value) in error.value.message or key == "output"
    with pytest.raises(ResumeError, match=r'  weights\.sha256: "[0-9a-f]{12}" -> '):
        run(small, out, replace(MODEL, weights_sha256="f" * 64), resume=True, **old)
    assert content(tmp_path) == before
    pixels = tifffile.imread(small)
    pixels[2, 5, 5] ^= 1
    small.unlink()
    write_stack(small, pixels, voxel_size_nm=(50, 4, 4))
    with pytest.raises(ResumeError, match=r"  input\.sha256: "):
        run(small, out, resume=True, **old)


@pytest.mark.bf16
def test_a_resumed_run_takes_the_engine_and_the_tiles_of_the_first(
    small_network, tissue, tmp_path, monkeypatch
):
    stack = np.tile(tissue[0][:2, :32], (1, 1, 3))
    source = tmp_path / "strip.tif"
    write_stack(source, stack)
    models = {
        dtype: replace(
            MODEL,
            network=small_network,
            engine=torch_engine(small_network, CPU, dtype),
            halo_px=halo_px(small_network, STRIDE),
        )
        for dtype in (F32, BF16)
    }
    limits = iter([32 * 224] * 2 + [10**9] * 2)
    monkeypatch.setattr(plan, "limit_px", lambda *_: next(limits))
    whole = run(source, tmp_path / "whole.tif", models[F32])
    assert whole.tiles > 2
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out.tif", models[F32], report=stop_at(1))
    told = []
    result = run(source, tmp_path / "out.tif", models[BF16], resume=True, say=told.append)
    assert (result.tiles, result.resumed > 0) == (whole.tiles, True)
    assert re.match(r"continuing on cpu \(.*float32\), as the first run did$", told[0])
    assert content(tmp_path / "out.tif") == content(tmp_path / "whole.tif")
    record = json.loads((tmp_path / "out.tif.json").read_text())
    assert record["identity"]["resolved"]["dtype"] == "float32"
    assert "float32" in record["device"]


def test_memory_that_runs_out_on_the_way_does_not_change_a_byte(small, tmp_path):
    def tight(batch):
        if batch.size > 4000:
            raise MemoryError
        return grey(batch)

    told = []
    model = replace(MODEL, engines=(replace(MODEL.engine, run=tight),))
    run(small, tmp_path / "out.tif", model, say=told.append)
    run(small, tmp_path / "whole.tif")
    assert any("out of memory" in sentence for sentence in told)
    assert content(tmp_path / "out.tif") == content(tmp_path / "whole.tif")


# --- errors


@pytest.mark.parametrize("options", [{}, {"tile_px": 16}], ids=str)
def test_nan_is_refused_with_its_place_and_leaves_nothing(tmp_path, rng, options):
    stack = rng.random((3, 50, 70), dtype=np.float32)
    stack[2, 3, 4] = np.nan
    write_stack(tmp_path / "nan.tif", stack)
    with pytest.raises(NonFiniteError, match=r"nan\.tif.*section 3.*row 3.*column 4"):
        run(tmp_path / "nan.tif", tmp_path / "out.tif", **options)
    assert names(tmp_path, "*") == ["nan.tif"]


@pytest.mark.parametrize("where", ["put", "flush"])
def test_a_failing_disk_keeps_finished_tiles(small, tmp_path, monkeypatch, where):
    run(small, tmp_path / "whole.tif", **TILED)
    out, told, calls = tmp_path / "out.tif", [], []
    owner = Canvas if where == "put" else prediction.io.Canvas.__subclasses__()[0]
    real = getattr(owner, where)

    def failing(self, *arguments):
        calls.append(where)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(prediction, "FLUSH_S", 0)
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, failing)
        with pytest.raises(OSError, match="disk full"):
            run(small, out, say=told.append, **TILED)
    assert not out.exists()
    assert any("to continue, add --resume" in sentence for sentence in told)
    assert run(small, out, resume=True, **TILED).resumed >= 4
    assert content(out) == content(tmp_path / "whole.tif")


def test_a_failing_engine_keeps_finished_tiles(small, tmp_path):
    calls = []

    def failing(batch):
        calls.append(batch)
        if len(calls) > 5:
            raise RuntimeError("illegal instruction")
        return grey(batch)

    model = replace(MODEL, engines=(replace(MODEL.engine, run=failing),))
    with pytest.raises(RuntimeError, match="illegal"):
        run(small, tmp_path / "out.tif", model, **TILED)
    result = run(small, tmp_path / "out.tif", resume=True, **TILED)
    assert result.resumed > 0


SYSTEM = ("EIO", "ESTALE", "ETIMEDOUT", "ENOMEM", "EMFILE")


def fails_at(monkeypatch, call, error):
    """Let one call that reads pixels fail."""
    real, calls = ChunkReader.read, []

    def read(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(ChunkReader, "read", read)


@pytest.mark.parametrize("name", [*SYSTEM, "MemoryError"])
def test_a_read_error_of_the_system_keeps_finished_tiles(small, tmp_path, monkeypatch, name):
    run(small, tmp_path / "whole.tif", **TILED)
    out, told, number = tmp_path / "out.tif", [], getattr(errno, name, errno.ENOMEM)
    error = OSError(number, os.strerror(number)) if name in SYSTEM else MemoryError()
    with monkeypatch.context() as patch:
        fails_at(patch, 3, error)
        with pytest.raises(OSError, match=r"small\.tif: page \d") as caught:
            run(small, out, say=told.append, **TILED)
    assert (caught.value.errno, isinstance(caught.value, StackError)) == (number, False)
    assert told == [
        f"{out}: finished tiles are kept; to continue, add --resume to the same command"
    ]
    assert run(small, out, resume=True, **TILED).resumed > 0
    assert content(out) == content(tmp_path / "whole.tif")


def test_a_run_that_forgets_resume_says_what_it_deletes(small, tmp_path, monkeypatch):
    out, told = tmp_path / "out.tif", []
    with monkeypatch.context() as patch:
        fails_at(patch, 3, MemoryError())
        with pytest.raises(OSError, match="page"):
            run(small, out, **TILED)
    assert run(small, out, say=told.append, **TILED).resumed == 0
    assert told == [
        f"{out}: what an interrupted run left is deleted; --resume would have continued it"
    ]
    told.clear()
    run(small, out, say=told.append, overwrite=True, **TILED)
    assert told == []


DAMAGED = (
    OSError("broken data stream"),
    OSError(errno.EINVAL, "invalid"),
    ValueError(),
    EOFError(),
)


@pytest.mark.parametrize("error", DAMAGED, ids=repr)
def test_a_read_error_of_the_file_names_it_and_leaves_nothing(small, tmp_path, monkeypatch, error):
    fails_at(monkeypatch, 3, error)
    with pytest.raises(StackError, match=r"small\.tif: page 3: the pixels cannot be read"):
        run(small, tmp_path / "out.tif", **TILED)
    assert names(tmp_path) == []


def test_an_error_that_names_its_file_keeps_that_name():
    with pytest.raises(OSError, match=r"'a\.zarr/c/0'$"), translate_errors("a.zarr"):
        raise OSError(errno.EIO, "failed", "a.zarr/c/0")


def test_a_read_error_does_not_stop_the_other_stacks(small, volume, tmp_path, monkeypatch):
    fails_at(monkeypatch, 2, OSError(errno.EIO, os.strerror(errno.EIO)))
    jobs = make_jobs([str(small), str(volume)], tmp_path / "maps")
    failure, result = predict_files(jobs, MODEL, PredictConfig())
    assert str(small) in str(failure.error)
    assert isinstance(result, PredictResult)


def test_the_command_reports_a_read_error_in_a_sentence(volume, tmp_path, monkeypatch):
    fails_at(monkeypatch, 2, OSError(errno.EIO, "Input/output error"))
    command = ["predict", str(volume), "-o", str(tmp_path / "out.tif"), "--precision", "float32"]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 1
    assert f"error: {volume}: page 2: Input/output error\nhint: " in result.stderr


def test_tiles_are_made_while_the_input_is_hashed(small, tmp_path, monkeypatch):
    is_made, out = threading.Event(), tmp_path / "out.tif"

    def wait_for_a_tile(source):
        assert is_made.wait(PATIENCE_S)
        return hash_input(source)

    monkeypatch.setattr("sfseg.io.open.hash_input", wait_for_a_tile)
    run(small, out, report=lambda tile: is_made.set() if tile.done else None, **TILED)
    identity = json.loads((tmp_path / "out.tif.json").read_text())["identity"]
    assert identity["input"]["sha256"] == hash_input(small)


def test_an_input_that_cannot_be_hashed_is_named(small, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("hashlib.file_digest", fail)
    with pytest.raises(OSError, match=r"small\.tif"):
        run(small, tmp_path / "out.tif")
    assert names(tmp_path) == []


# --- many inputs, and what becomes what


def test_an_existing_output_is_kept_unless_it_may_be_replaced(volume, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make_jobs([str(volume)], out)
    assert out.read_text() == "precious"
    (job,) = make_jobs([str(volume)], out, overwrite=True)
    predict_job(job, MODEL, PredictConfig(overwrite=True))
    assert tifffile.imread(out).shape == (4, 96, 112)


def test_the_input_is_never_the_output_even_with_overwrite(volume):
    before = volume.read_bytes()
    with pytest.raises(OutputExistsError, match="which is an input"):
        make_jobs([str(volume)], volume, overwrite=True)
    with pytest.raises(OutputExistsError, match="which is an input"):
        make_jobs([str(volume)], volume.parent, overwrite=True)
    with pytest.raises(OutputExistsError, match="which is an input"):
        make_jobs([str(volume)], volume, resume=True)
    assert volume.read_bytes() == before


@pytest.mark.parametrize("output", ["map.tif", "map.zarr"])
def test_an_input_is_never_a_temporary_file_of_the_output(volume, tmp_path, output):
    for place in touched_paths(tmp_path / output):
        for make in (place.symlink_to, place.hardlink_to, lambda _, at=place: at.mkdir()):
            make(volume)
            source = place
            if place.is_dir():
                source = place / "1.tif"
                source.hardlink_to(volume)
            for options in ({}, {"overwrite": True}, {"resume": True}):
                with pytest.raises(OutputExistsError, match="never overwritten"):
                    make_jobs([str(source)], tmp_path / output, **options)
            remove(place)


def test_an_input_beside_the_output_with_another_name_is_fine(volume, tmp_path):
    for name in ("map.tif.parts", "map.tif.old", "map.part", "other.tif.part", "map.json"):
        (tmp_path / name).hardlink_to(volume)
        assert make_jobs([str(tmp_path / name)], tmp_path / "map.tif")


def test_a_file_of_others_with_the_name_of_the_record_is_kept(small, tmp_path):
    out, record = tmp_path / "out.tif", tmp_path / "out.tif.json"
    for text in ("precious", "{}", '{"schema": 1}', ""):
        record.write_text(text)
        for resume in (False, True):
            taken = r"out\.tif\.json exists already\nhint: .*--overwrite"
            with pytest.raises(OutputExistsError, match=taken):
                make_jobs([str(small)], out, resume=resume)
            with pytest.raises(OutputExistsError, match=r"out\.tif\.json"):
                run(small, out, resume=resume)
        assert record.read_text() == text
    assert names(tmp_path) == ["out.tif.json"]
    assert make_jobs([str(small)], out, overwrite=True)
    run(small, out, overwrite=True)
    assert json.loads(record.read_text())["pieces"] == 3


def test_a_folder_with_the_name_of_the_record_is_refused_before_any_work(small, tmp_path):
    (tmp_path / "out.tif.json").mkdir()
    with pytest.raises(OutputExistsError, match="this is a folder"):
        make_jobs([str(small)], tmp_path / "out.tif", overwrite=True)


def test_the_record_of_an_output_that_is_gone_is_replaced(small, tmp_path):
    run(small, tmp_path / "out.tif")
    (tmp_path / "out.tif").unlink()
    assert make_jobs([str(small)], tmp_path / "out.tif")
    assert run(small, tmp_path / "out.tif").resumed == 0


def test_a_name_that_leaves_no_room_for_the_record_is_refused_before_any_work(small, tmp_path):
    with pytest.raises(OutputError, match="shorter name"):
        make_jobs([str(small)], tmp_path / f"{'n' * 232}.tif")


def test_an_output_behind_a_link_to_itself_is_refused(volume, tmp_path):
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    (job,) = make_jobs([str(volume)], tmp_path / "loop.tif" / "out.tif")
    with pytest.raises(OutputError, match=r"loop\.tif: cannot be written"):
        predict_job(job, MODEL, PredictConfig())


def test_a_folder_as_output_takes_each_file_under_its_name(tissue_files, tmp_path):
    jobs = make_jobs([str(tissue_files)], tmp_path / "maps")
    assert [job.output for job in jobs] == [
        tmp_path / "maps" / name for name in ("labels.tif", "volume.tif")
    ]


def test_several_inputs_need_a_folder(volume, tmp_path):
    for name in ("out.tif", "out.zarr"):
        with pytest.raises(OptionError, match="name a folder"):
            make_jobs([str(volume), str(volume)], tmp_path / name)


def test_one_stack_in_one_call_wants_one_file(volume, tmp_path):
    with pytest.raises(OptionError, match=r"must end in \.tif.* or \.zarr"):
        predict_file(volume.parent, tmp_path / "maps")


def test_one_stack_is_predicted_by_the_shipped_network(volume, tmp_path):
    config = PredictConfig(engine="torch", precision="float32")
    result = predict_file(volume, tmp_path / "map.tif", config)
    assert result.shape == tifffile.imread(tmp_path / "map.tif").shape == (4, 96, 112)
    assert predict_file(volume, tmp_path / "map.tif", replace(config, resume=True)).resumed == 4


def test_two_inputs_of_one_name_are_refused(volume, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / volume.name
    twin.write_bytes(volume.read_bytes())
    with pytest.raises(OptionError, match="would be written to this file"):
        make_jobs([str(volume), str(twin)], tmp_path / "maps")


def test_a_source_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(StackError):
        make_jobs([str(tmp_path / "none*.tif")], tmp_path / "maps")


def test_a_bad_file_does_not_stop_the_others(volume, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_text("no image")
    jobs = make_jobs([str(bad), str(volume)], tmp_path / "maps")
    failure, result = predict_files(jobs, MODEL, PredictConfig())
    assert isinstance(failure, Failure)
    assert "bad.tif" in str(failure.error)
    assert isinstance(result, PredictResult)
    assert names(tmp_path / "maps", "*") == ["volume.tif", "volume.tif.json"]


def test_many_stacks_are_resumed_where_they_stopped(small, volume, tmp_path):
    jobs = make_jobs([str(small), str(volume)], tmp_path / "maps")
    config = PredictConfig(tile_px=32)
    stop = stop_at(14)  # in the second stack
    with pytest.raises(KeyboardInterrupt):
        list(predict_files(jobs, MODEL, config, report=stop))
    again = make_jobs([str(small), str(volume)], tmp_path / "maps", resume=True)
    first, second = predict_files(again, MODEL, replace(config, resume=True))
    assert (first.resumed, first.tiles) == (12, 12)
    assert 0 < second.resumed < second.tiles


def test_a_finished_output_that_was_changed_since_is_not_taken_for_done(small, tmp_path):
    out = tmp_path / "out.tif"
    run(small, out)
    assert run(small, out, resume=True).resumed == 3
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    with pytest.raises(ResumeError, match="its hash is not that of its record"):
        run(small, out, resume=True)
    assert run(small, out, resume=True, overwrite=True).resumed == 0


def test_where_memory_runs_out_for_good_the_other_stacks_are_done(small, tmp_path):
    def none_left(_batch):
        raise MemoryError

    starved = replace(MODEL, engines=(replace(MODEL.engine, run=none_left),))
    jobs = [Job(str(small), tmp_path / name) for name in ("a.tif", "b.tif")]
    results = list(predict_files(jobs, starved, PredictConfig()))
    assert [type(result) for result in results] == [Failure, Failure]
    assert "too little memory to predict it" in str(results[0].error)


def test_an_input_inside_of_the_output_s_store_is_never_replaced(tmp_path):
    zarr = pytest.importorskip("zarr")
    store = tmp_path / "vol.zarr"
    zarr.open_group(store, mode="w").create_array("raw", data=np.zeros((2, 20, 20), np.uint8))
    for source in (f"{store}:/raw", str(store / "raw")):
        with pytest.raises(OutputExistsError, match="never overwritten"):
            make_jobs([source], store, overwrite=True)


def test_tiles_without_effect_are_reported(small, tmp_path):
    resizing = replace(MODEL, header=replace(MODEL.header, input_px=64))
    told = []
    run(small, tmp_path / "out.tif", resizing, say=told.append, **TILED)
    assert told == ["--tile has no effect: these weights resize sections to 64x64"]
