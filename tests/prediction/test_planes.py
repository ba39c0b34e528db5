"""The mean of the maps of the planes along z, y and x."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import sfseg
from sfseg import io
from sfseg.config import PredictConfig
from sfseg.errors import NonFiniteError, OptionError, OutputExistsError, ResumeError
from sfseg.io.tiff.strips import ChunkReader
from sfseg.io.turned import turn_stack
from sfseg.models.weights import Header
from sfseg.prediction import plan
from sfseg.prediction import run as prediction
from sfseg.prediction.engines import Choice, Engine
from sfseg.prediction.gaps import close_gaps
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from sfseg.prediction.plane_maps import report_whole
from sfseg.prediction.planes import AXES, BACK
from sfseg.prediction.predict import predict_job
from tests.cli.commands import sfseg as command


def grey(batch):
    """Stand for a network whose result changes if a section is turned."""
    around = np.pad(batch, ((0, 0), (1, 0), (1, 0)))
    total = 2 * batch + around[:, :-1, 1:] - around[:, 1:, :-1]
    return total / (1 + np.abs(total)) / 2 + np.float32(0.5)


MODEL = Model(
    torch.nn.Identity(),
    Header(arch="sfnet", recipe="default", voxel_size_nm=(50.0, 4.0, 4.0)),
    (Engine("torch", torch.device("cpu"), torch.float32, grey, bytes_per_px=8),),
    Choice("torch", "float32"),
    halo_px=16,
    weights_sha256="0" * 64,
)
DEPTH, HEIGHT, WIDTH = SHAPE = (4, 12, 17)
FINISHED = ["out.tif", "out.tif.json"]


@pytest.fixture(scope="module")
def volume():
    return sfseg.make_tissue((DEPTH, 64, 64), seed=5)[0][:, :HEIGHT, :WIDTH]


@pytest.fixture(scope="module")
def expected(volume):
    """The mean, written down."""
    along_z = MODEL.predict(volume)
    along_y = MODEL.predict(volume.transpose(1, 0, 2)).transpose(1, 0, 2)
    along_x = MODEL.predict(volume.transpose(2, 0, 1)).transpose(1, 2, 0)
    return (along_z + along_y + along_x) / np.float32(3)


@pytest.fixture
def source(volume, tmp_path):
    sfseg.write_stack(tmp_path / "in.tif", volume, voxel_size_nm=(4, 4, 4))
    return tmp_path / "in.tif"


def run(source, out, *, report=lambda _: None, say=lambda _: None, **options):
    config = PredictConfig(**{"planes": True, **options})
    return predict_job(Job(str(source), out), MODEL, config, report=report, say=say)


def names(folder):
    return sorted(path.name for path in folder.glob("out*"))


def stop_at(call, error=KeyboardInterrupt):
    """Stop at a call of `report`, of which each of the three passes has one more than tiles."""
    left = [call]

    def report(_record):
        left[0] -= 1
        if left[0] < 0:
            raise error

    return report


# --- turned stacks


@pytest.mark.parametrize("order", [*AXES.values(), *BACK.values()], ids=str)
@pytest.mark.parametrize("planes", [0, 1, 7, 100])
def test_a_turned_stack_is_the_transposed_array_and_each_pixel_is_read_once(order, planes, rng):
    array = rng.integers(0, 255, (5, 6, 9), np.uint8)
    read = np.zeros(array.shape, int)

    def window(index, rows, columns):
        read[index, rows, columns] += 1
        return array[index, rows, columns]

    stack = io.open_array(array, "test").with_voxel_size((3.0, 4.0, 5.0))
    stack._read_window = window
    plane_bytes = array.size // array.shape[order[0]]
    turned = turn_stack(stack, order, 2 * planes * plane_bytes)
    wanted = array.transpose(order)
    assert turned.shape == wanted.shape
    assert turned.voxel_size_nm == tuple((3.0, 4.0, 5.0)[axis] for axis in order)
    assert turned.buffer_bytes == 2 * min(planes, len(wanted)) * plane_bytes
    np.testing.assert_array_equal(turned.read(), wanted)
    assert (read == 1).all()
    rows, columns = slice(1, 4), slice(2, 5)
    np.testing.assert_array_equal(turned.window(2, rows, columns), wanted[2, rows, columns])


# --- what is written


def test_the_output_is_the_mean_of_three_predictions(source, volume, expected, tmp_path):
    result = run(source, tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)
    np.testing.assert_array_equal(MODEL.predict(volume, planes=True), expected)
    assert np.abs(expected - MODEL.predict(volume)).max() > 0.01
    assert result.interior_share == pytest.approx(expected.mean(dtype=float), rel=1e-6)
    assert names(tmp_path) == FINISHED
    record = json.loads((tmp_path / "out.tif.json").read_text())
    assert record["identity"]["options"]["planes"] is True


def test_each_kind_of_output_is_made_of_the_mean(source, expected, tmp_path):
    def written(**options):
        run(source, tmp_path / "out.tif", overwrite=True, **options)
        return tifffile.imread(tmp_path / "out.tif")

    np.testing.assert_allclose(written(dtype="uint8") / 255, expected, atol=0.5 / 255 + 1e-6)
    binary = written(output="binary", threshold=0.6)
    np.testing.assert_array_equal(binary, np.where(expected.astype(float) > 0.6, 255, 0))
    np.testing.assert_array_equal(written(output="segments", threshold=0.6) > 0, binary > 0)
    closed = np.stack([close_gaps(section) for section in expected])
    np.testing.assert_array_equal(written(close_gaps=True), closed)


def test_tiles_slabs_and_windows_make_the_same_bytes_and_read_the_input_three_times(
    source, expected, tmp_path, monkeypatch
):
    read_px = []

    def counted(self, page, box, read=ChunkReader.read, **shift):
        pixels = read(self, page, box, **shift)
        read_px.append(pixels.size)
        return pixels

    monkeypatch.setattr(ChunkReader, "read", counted)
    for bytes_in_slabs in (10**6, 2 * 4 * HEIGHT * WIDTH * 4, 0):
        read_px.clear()
        monkeypatch.setattr(plan, "SLABS_SHARE", bytes_in_slabs / 2**30)
        run(source, tmp_path / "out.tif", overwrite=True, tile_px=16, memory_gib=1)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)
        if bytes_in_slabs:
            assert sum(read_px) == (3 + 2) * expected.size  # the input, and two maps


def test_pixels_without_tissue_are_0(volume, tmp_path):
    framed = np.pad(volume, ((0, 0), (24, 0), (0, 0)))
    sfseg.write_stack(tmp_path / "in.tif", framed)
    result = run(tmp_path / "in.tif", tmp_path / "out.tif")
    found = tifffile.imread(tmp_path / "out.tif")
    assert (found[:, :24] == 0).all()
    assert found[:, 24:].mean() > 0.4
    assert result.empty_share == pytest.approx(24 / (24 + HEIGHT))


@pytest.mark.parametrize("shape", [(2, 40, 49), (5, 1, 30), (30, 7, 2)])
def test_stacks_thinner_than_the_network_work(volume, shape):
    depth, height, width = shape
    thin = np.resize(volume, shape)
    found = MODEL.predict(thin, planes=True)
    assert found.shape == (depth, height, width)
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.usefixtures("small_shipped")
def test_the_command_averages_as_python_does(volume, source, tmp_path):
    out = tmp_path / "out.tif"
    ran = command("predict", source, "-o", out, "--planes", "--precision", "float32")
    assert [line for line in ran.stderr.splitlines() if " of 3" in line] == [
        "planes along y, 1 of 3",
        "planes along x, 2 of 3",
        "sections, 3 of 3",
    ]
    expected = sfseg.predict(volume, planes=True, pixel_size_nm=4, precision="float32")
    np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_progress_and_the_time_left_count_all_three(source, volume, tmp_path):
    steps = []
    MODEL.predict(volume, planes=True, progress=lambda *step: steps.append(step))
    shares = [done / total for done, total in steps]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    records = []
    run(source, tmp_path / "out.tif", report=records.append)
    quarter = replace(records[0], done=10, total=40, seconds_left=30.0)
    report_whole(records.append, 2, quarter)  # 10 s are gone, and two more passes take 40 s each
    assert records[-1] == replace(quarter, seconds_left=110.0)


# --- voxels


def test_unequal_voxels_are_refused_with_a_hint_that_works(volume, tmp_path):
    sfseg.write_stack(tmp_path / "in.tif", volume, voxel_size_nm=(50, 8, 8))
    with pytest.raises(OptionError, match=r"as thick as wide, these have 50x8x8 nm") as refused:
        run(tmp_path / "in.tif", tmp_path / "out.tif")
    assert refused.value.hint.endswith("add --pixel-size 8")
    assert names(tmp_path) == []
    told = []
    run(tmp_path / "in.tif", tmp_path / "out.tif", pixel_size_nm=8, say=told.append)
    assert "--planes assumes sections 8 nm thick, as their pixels; the file says 50 nm" in told
    with io.open_stack(tmp_path / "out.tif") as stack:
        assert stack.voxel_size_nm == (8, 8, 8)


@pytest.mark.parametrize(
    ("voxel", "said"),
    [
        (None, "the voxel size is not known: --planes assumes voxels as thick as wide"),
        ((np.nan, 8, 8), "--planes assumes sections 8 nm thick, as their pixels; the file does"),
        ((10, 8, 8), None),
    ],
)
def test_what_is_not_known_of_the_voxels_is_said(volume, tmp_path, voxel, said):
    sfseg.write_stack(tmp_path / "in.tif", volume, voxel_size_nm=voxel)
    told = []
    run(tmp_path / "in.tif", tmp_path / "out.tif", say=told.append)
    assert any(line.startswith(said or "--planes") for line in told) == (said is not None)


def test_planes_are_resampled_by_their_own_pixel_size(volume, tmp_path):
    sfseg.write_stack(tmp_path / "in.tif", volume, voxel_size_nm=(11, 8, 8))
    plans = {}
    run(tmp_path / "in.tif", tmp_path / "out.tif", report=lambda r: plans.update({r.plan.shape: r}))
    own = [record.plan.pixels.own_nm for record in plans.values()]
    assert own == [(11, 8), (11, 8), (8, 8)]


def test_one_section_has_no_planes(volume):
    with pytest.raises(OptionError, match="one section has no planes along y and x"):
        MODEL.predict(volume[0], planes=True)


def test_a_pixel_that_is_not_finite_is_named_by_its_place_in_the_stack(volume, tmp_path):
    broken = volume.astype(np.float32)
    broken[3, 10, 15] = np.nan
    sfseg.write_stack(tmp_path / "in.tif", broken)
    with pytest.raises(NonFiniteError, match="section 4: the pixel in row 10, column 15 is nan"):
        run(tmp_path / "in.tif", tmp_path / "out.tif")
    assert names(tmp_path) == []


def test_parts_of_the_sections_have_no_planes(source, tmp_path):
    pytest.importorskip("zarr")
    with pytest.raises(OptionError, match="--sections: it does not work with --planes"):
        run(source, tmp_path / "out.zarr", sections="1-2")


# --- stops

FIRSTS = {"y": 0, "x": HEIGHT + 1, "z": HEIGHT + WIDTH + 2}
"""The call of `report` at which each pass begins."""


@pytest.mark.parametrize("call", [0, 5, *(FIRSTS["x"] + n for n in (-1, 0, 1)), FIRSTS["z"], 33])
def test_a_run_that_is_stopped_in_any_pass_and_resumed_makes_the_same_bytes(
    source, expected, tmp_path, call
):
    out, told = tmp_path / "out.tif", []
    with pytest.raises(KeyboardInterrupt):
        run(source, out, report=stop_at(call), say=told.append)
    kept = [line for line in told if "to continue, add --resume" in line]
    assert kept == [f"{out}: finished tiles are kept; to continue, add --resume to the same command"
                    for _ in range(call > 0)]  # fmt: skip
    assert names(tmp_path) != FINISHED
    reported = []
    run(source, out, resume=True, report=reported.append)
    assert len(reported) <= sum(SHAPE) + 3 - call
    np.testing.assert_array_equal(tifffile.imread(out), expected)
    assert names(tmp_path) == FINISHED


def test_a_run_that_is_killed_at_any_moment_and_resumed_makes_the_same_bytes(
    source, tmp_path, monkeypatch
):
    """A copy of the folder in the middle of the work is what a kill leaves."""
    monkeypatch.setattr(prediction, "FLUSH_S", 0)
    (tmp_path / "work").mkdir()
    moments = iter(range(10**6))
    taken = {FIRSTS[axis] + n for axis in FIRSTS for n in (0, 2)}

    def copy(_record):
        if (moment := next(moments)) in taken:
            shutil.copytree(tmp_path / "work", tmp_path / f"at {moment}")

    run(source, tmp_path / "work" / "out.tif", report=copy)
    whole = (tmp_path / "work" / "out.tif").read_bytes()
    states = list(tmp_path.glob("at *"))
    assert len(states) == len(taken)
    for state in states:
        run(source, state / "out.tif", resume=True)
        assert (state / "out.tif").read_bytes() == whole
        assert names(state) == FINISHED


def stopped(source, out):
    with pytest.raises(KeyboardInterrupt):
        run(source, out, report=stop_at(5))
    assert (Path(f"{out}.part.planes") / "y.tif.part").exists()


def test_without_resume_a_stopped_run_starts_again(source, tmp_path):
    for options in ({}, {"planes": False}):
        stopped(source, tmp_path / "out.tif")
        run(source, tmp_path / "out.tif", **options)
        assert names(tmp_path) == FINISHED
        (tmp_path / "out.tif").unlink()


def test_a_resumed_run_needs_the_same_options(source, tmp_path):
    out = tmp_path / "out.tif"
    stopped(source, out)
    with pytest.raises(ResumeError, match="had --planes\nhint: add --planes to continue"):
        run(source, out, resume=True, planes=False)
    with pytest.raises(ResumeError, match="tta"):
        run(source, out, resume=True, tta="flips")
    run(source, out, resume=True)
    assert names(tmp_path) == FINISHED
    with pytest.raises(ResumeError, match="planes"):
        run(source, out, resume=True, planes=False)


def test_a_finished_output_is_left_alone_and_what_was_left_beside_it_goes(source, tmp_path):
    out = tmp_path / "out.tif"
    run(source, out)
    (tmp_path / "out.tif.part.planes").mkdir()
    result = run(source, out, resume=True, report=stop_at(0))
    assert result.resumed == result.tiles == DEPTH
    assert names(tmp_path) == FINISHED


def test_a_second_run_is_refused_and_an_output_that_exists_before_any_work(source, tmp_path):
    out = tmp_path / "out.tif"

    def again(record):
        if record.done == 1:  # in each pass
            with pytest.raises(OutputExistsError, match="another run is writing this output"):
                run(source, out)

    run(source, out, report=again)
    with pytest.raises(OutputExistsError, match="exists already"):
        run(source, out, report=stop_at(0))
