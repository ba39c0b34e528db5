"""Cells and scores on a Dask cluster: those of one machine, whatever fails on the way."""

import os
import pickle
import signal

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

pytest.importorskip("distributed")

from distributed.protocol.pickle import loads

import sfseg
from sfseg import cli, io
from sfseg.cluster.share import ClusterShare
from sfseg.errors import BlocksError, NonFiniteError, OutputError, StackError
from sfseg.scoring import score, score_files
from sfseg.scoring.cell_pairs import CellPair
from sfseg.segmentation import graph
from sfseg.segmentation.segment import SCRATCH
from sfseg.segmentation.store import FolderStore
from sfseg.system import sharing
from tests.cluster.small_workers import changed, silent, two_workers

SHAPE = (7, 48, 56)


@pytest.fixture(scope="module")
def processes():
    with two_workers() as found:
        yield found


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    """Let two sections be a call."""
    monkeypatch.setattr(sharing, "LEAST_GROUPS", 3)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A map of drawn tissue."""
    labels = sfseg.make_tissue(SHAPE, seed=8)[1]
    light = ndimage.gaussian_filter(labels / np.float32(255), (0, 1, 1))
    path = tmp_path_factory.mktemp("map") / "map.tif"
    sfseg.write_stack(path, light, voxel_size_nm=(50, 4, 4))
    return path


def segment(cluster, source, out, stop=None, **options):
    """Segment a map on a cluster, or here; return the hash of the output, which lies there alone.

    `stop` is called once, when a section is divided.
    """
    share = cluster and ClusterShare.start(cluster, can_resume=True, say=silent)
    stops = [stop] if stop else []

    def progress(done, _total, stage):
        if done and stage.startswith("dividing") and stops:
            stops.pop()()

    out.parent.mkdir(exist_ok=True)
    sfseg.segment_file(source, out, share=share, progress=progress, **options)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert not stops
    return io.hash_input(out)


@pytest.fixture
def expected(source, tmp_path):
    """The hash of what one process makes."""
    return segment(None, source, tmp_path / "expected" / "cells.tif")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "cells.tif"


@pytest.mark.parametrize("options", [{}, {"link": "none"}, {"method": "components", "fill": True}])
def test_a_cluster_finds_the_cells_of_one_machine(cluster, source, tmp_path, monkeypatch, options):
    here = segment(None, source, tmp_path / "here" / "cells.tif", **options)
    monkeypatch.setattr(graph, "divide_section", None)  # all of them are divided on the workers
    monkeypatch.setattr(graph, "find_overlaps", None)
    monkeypatch.chdir(source.parent)  # where the workers are not
    assert segment(cluster, source.name, tmp_path / "there" / "cells.tif", **options) == here


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("first_is_here", [True, False])
def test_one_machine_and_a_cluster_resume_what_the_other_began(
    cluster, source, out, expected, first_is_here
):
    places = [None, cluster] if first_is_here else [cluster, None]
    with pytest.raises(KeyboardInterrupt):
        segment(places[0], source, out, interrupt)
    kept = {path.name: path.stat().st_mtime_ns for path in scratch(out).glob("*.npz")}
    seen = {}

    def see():
        seen.update({path.name: path.stat().st_mtime_ns for path in scratch(out).glob("*.npz")})

    assert segment(places[1], source, out, see, resume=True) == expected
    assert kept
    assert kept.items() <= seen.items()


def scratch(out):
    """Return the folder of the superpixels of an output in the making."""
    return out.with_name(f"{out.name}.{SCRATCH}")


def poison(*, undo):
    """Let a worker fail to link sections."""
    whole = graph.find_overlaps
    if undo:
        graph.find_overlaps = whole.__wrapped__
        return

    def fail(*_):
        raise MemoryError("poison")

    fail.__wrapped__ = whole
    graph.find_overlaps = fail


def test_what_fails_is_named_and_resumed_with_what_is_finished(cluster, source, out, expected):
    with changed(cluster, poison), pytest.raises(BlocksError) as failed:
        segment(cluster, source, out)
    assert "sections 1 to 2: MemoryError: poison" in failed.value.message
    assert "--resume" in failed.value.hint
    assert len(list(scratch(out).glob("section-*.npz"))) == SHAPE[0]
    assert segment(cluster, source, out, resume=True) == expected


def test_a_bad_map_is_the_same_error_as_on_one_machine_and_leaves_nothing(
    cluster, source, tmp_path, out
):
    with io.open_stack(source) as stack:
        light = stack.read()
    light[-1, 3, 3] = np.nan
    sfseg.write_stack(tmp_path / "nan.tif", light)
    for place in (None, cluster):
        with pytest.raises(NonFiniteError, match=r"nan\.tif: section 7: the pixel in row 3"):
            segment(place, tmp_path / "nan.tif", out)
        assert not list(out.parent.iterdir())


def test_the_command_says_where_it_computes_and_refuses_what_is_no_address(cluster, source, out):
    arguments = ["segment", str(source), "-o", str(out), "--dask"]
    result = CliRunner().invoke(cli.app, [*arguments, cluster.address])
    assert result.exit_code == 0
    assert result.stdout == f"{out}\n"
    assert f"computing on 2 workers of {cluster.address}" in result.stderr
    refused = CliRunner().invoke(cli.app, [*arguments, "node1", "--overwrite"])
    assert refused.exit_code == 2
    assert "--dask: must be local, or the address of a scheduler" in refused.stderr


@pytest.fixture(scope="module")
def truth(source):
    """The labels of the tissue, in ten numbers, with a corner that nobody has labelled."""
    labels = sfseg.make_tissue(SHAPE, seed=8)[1]
    labels[:, :20, :20] = 7
    sfseg.write_stack(source.with_name("truth.tif"), labels)
    return source.with_name("truth.tif")


SCORES = {
    "plain": {"membrane_value": 0},
    "not all known, some sections": {"ignore": 7, "sections": "2-6"},
    "inverted": {"invert": True, "labels_are": "membrane"},
}


@pytest.mark.parametrize("way", SCORES)
def test_a_cluster_has_the_digits_of_one_machine_for_maps(cluster, source, truth, monkeypatch, way):
    share = ClusterShare.start(cluster, can_resume=False, say=silent)
    here = sfseg.score_files(source, truth, **SCORES[way])
    monkeypatch.setattr(score, "sweep_section", None)  # all are scored on the workers
    monkeypatch.setattr(score_files, "KEPT_BYTES", 0)
    there = sfseg.score_files(source, truth, share=share, **SCORES[way])
    assert there.as_dict() == here.as_dict()
    assert there.find_errors(share=share).as_dict() == here.find_errors().as_dict()


@pytest.fixture(scope="module")
def cells(source):
    """The true cells of the tissue, from its labels, and those of the map."""
    paths = [source.with_name(name) for name in ("cells.tif", "true.tif")]
    sfseg.segment_file(source, paths[0])
    sfseg.segment_file(source.with_name("truth.tif"), paths[1], method="components", map_max=255)
    return paths


@pytest.mark.parametrize(
    "options",
    [{"pixel_size_nm": 8, "border_nm": 20}, {"sections": "1-3,5-7", "ignore": 2, "worst": 0}],
)
def test_a_cluster_has_the_digits_of_one_machine_for_cells(
    cluster, truth, cells, monkeypatch, options
):
    assert truth
    share = ClusterShare.start(cluster, can_resume=False, say=silent)
    here = sfseg.score_cell_files(*cells, **options)
    monkeypatch.setattr(CellPair, "section", None)  # all are read on the workers
    there = sfseg.score_cell_files(*cells, share=share, **options)
    assert there.as_dict() == here.as_dict()
    assert here.errors or not options.get("worst", 10)


def test_the_command_scores_on_a_cluster_and_refuses_threads_here(cluster, source, truth, cells):
    for words in (source, truth, "--ignore", 7), cells:
        arguments = ["score", *map(str, words), "--json"]
        here = CliRunner().invoke(cli.app, arguments)
        there = CliRunner().invoke(cli.app, [*arguments, "--dask", cluster.address])
        assert here.exit_code == there.exit_code == 0
        assert there.stdout == here.stdout
        refused = CliRunner().invoke(cli.app, [*arguments, "--dask", "local", "--workers", "2"])
        assert refused.exit_code == 2
        assert "leave --workers out" in refused.stderr


def test_a_map_that_cannot_be_scored_is_the_same_error_as_on_one_machine(
    cluster, source, truth, tmp_path
):
    with io.open_stack(truth) as stack:
        labels = stack.read()
    labels[4] = 0
    sfseg.write_stack(tmp_path / "empty.tif", labels)
    share = ClusterShare.start(cluster, can_resume=False, say=silent)
    errors = []
    for options in {}, {"share": share}:
        with pytest.raises(StackError, match="section 5: no label is inside") as refused:
            sfseg.score_files(source, tmp_path / "empty.tif", ignore=7, **options)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


def test_a_process_that_nobody_reaches_any_more_can_keep_nothing(tmp_path):
    store = FolderStore(tmp_path / "store", {"input": "this"}, resume=False)
    edges = graph.no_edges(graph.OVERLAP_MEASURES)
    with store.shared() as shared:
        elsewhere = loads(pickle.dumps(shared))
        elsewhere.save_overlaps(0, edges)
    assert store.overlaps() == {0}
    with pytest.raises(OutputError):
        elsewhere.save_overlaps(1, edges)
    with pytest.raises(OutputError, match="does not see this folder"):
        elsewhere.require_visible()
    assert [path.name for path in store.folder.glob("overlaps*")] == ["overlaps-000001.npz"]


def test_a_stack_is_pickled_as_its_file_and_another_one_there_is_refused(source, tmp_path):
    path = tmp_path / "stack.tif"
    path.write_bytes(source.read_bytes())
    with io.open_stack(path) as stack:
        data = pickle.dumps(stack)
        with loads(data) as again:
            np.testing.assert_array_equal(again.read(), stack.read())
        with pytest.raises(TypeError, match="can be pickled"):
            pickle.dumps(stack.inverted())
    sfseg.write_stack(path, np.zeros((2, 9, 9), np.uint8), overwrite=True)
    with pytest.raises(StackError, match="another process finds another stack here"):
        loads(data)


def die():
    """Let a worker die where it would divide a section."""
    graph.divide_section = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_in_the_middle_changes_nothing(cluster, source, out, expected):
    address, victim = next(iter(cluster.client.run(os.getpid).items()))
    cluster.client.run(die, workers=[address])
    assert segment(cluster, source, out) == expected
    assert victim not in cluster.client.run(os.getpid).values()
