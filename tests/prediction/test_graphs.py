"""Passes are recorded and replayed as CUDA demands it: tried with a CUDA of Python on a CPU."""

import contextlib
import itertools
import threading
from types import SimpleNamespace

import pytest
import torch

from sfseg.prediction.engines import graphs
from sfseg.prediction.engines.graphs import Recorder

CPU = torch.device("cpu")


class Cuda:
    """As much of CUDA as a recorder uses, with the rules that it must keep.

    Memory that no graph uses any more cannot be shared. A thread that records must have done a pass
    before. A recording that fails leaves its stream current.
    """

    def __init__(self):
        self.handles = itertools.count(1)
        self.stream, self.recording, self.fails = "compute", None, None
        self.warm, self.users = set(), {}
        self.device = SimpleNamespace(total_memory=2**30)

    def patch(self, monkeypatch):
        cuda, fake = torch.cuda, self

        class Graph:
            def pool(self):
                return self.handle

            def replay(self):
                for kept, new in zip(self.results, compute(self.sections), strict=True):
                    kept.copy_(new)

            def __del__(self):
                if hasattr(self, "handle"):
                    fake.users[self.handle] -= 1

        @contextlib.contextmanager
        def record(graph, pool, stream, capture_error_mode):
            assert capture_error_mode == "thread_local"
            if fake.users.get(pool) == 0:
                raise RuntimeError("INTERNAL ASSERT FAILED: use_count > 0")
            graph.handle = pool or next(fake.handles)
            fake.users[graph.handle] = fake.users.get(graph.handle, 0) + 1
            fake.stream, before, fake.recording = stream, fake.stream, graph
            yield
            fake.recording = None
            if fake.fails is not None:
                raise fake.fails
            fake.stream = before

        @contextlib.contextmanager
        def stream(chosen):
            before, fake.stream = fake.stream, chosen
            try:
                yield
            finally:
                fake.stream = before

        monkeypatch.setattr(cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(cuda, "graph", record)
        monkeypatch.setattr(cuda, "stream", stream)
        monkeypatch.setattr(cuda, "Stream", lambda _: "recording")
        monkeypatch.setattr(cuda, "graph_pool_handle", lambda: next(fake.handles))
        monkeypatch.setattr(cuda, "get_device_properties", lambda _: fake.device)
        monkeypatch.setattr(cuda, "empty_cache", lambda: None)

    def forward(self, sections):
        results = compute(sections)
        if self.recording is None:
            self.warm.add(threading.get_ident())
        else:
            if threading.get_ident() not in self.warm:
                raise RuntimeError("cuDNN error: no handle can be made in a recording")
            self.recording.sections, self.recording.results = sections, results
        return results


def compute(sections):
    return sections + 1, sections.sum()


@pytest.fixture
def cuda(monkeypatch):
    fake = Cuda()
    fake.patch(monkeypatch)
    return fake


@pytest.fixture
def recorder(cuda):
    return Recorder(cuda.forward, CPU, bytes_per_px=10)


def check(recorder, *shape, value=1.0):
    sections = torch.full(shape, value)
    results = recorder(sections)
    for found, expected in zip(results, compute(sections), strict=True):
        assert torch.equal(found, expected)
    return results


def recordings(recorder):
    return [one for one in recorder._recordings.values() if one is not None]


def test_the_third_pass_of_a_shape_is_a_replay_and_results_stay(cuda, recorder):
    for n in range(2):
        check(recorder, 1, 4, 4, value=n)
    cuda.forward = None  # only the recording can run now
    first = check(recorder, 1, 4, 4, value=5.0)
    check(recorder, 1, 4, 4, value=6.0)
    assert (first[0] == 6.0).all()  # of 5: the replay after it has not written into it


def test_a_thread_that_did_no_pass_before_can_record(recorder):
    check(recorder, 1, 4, 4)
    other = threading.Thread(target=check, args=(recorder, 1, 4, 4))
    other.start()
    other.join()
    assert len(recordings(recorder)) == 1
    check(recorder, 1, 4, 4, value=3.0)


def test_after_many_shapes_have_passed_once_a_shape_is_still_recorded(recorder):
    for _ in range(2):
        check(recorder, 1, 4, 4)
    for n in range(1, graphs.MOST_SHAPES + 2):  # the only recording is dropped
        check(recorder, 1, 8, n)
    assert not recordings(recorder)
    for _ in range(3):
        check(recorder, 1, 4, 4)
    assert len(recordings(recorder)) == 1


def test_recordings_share_their_memory(cuda, recorder):
    for side in (4, 8, 4, 8):
        check(recorder, 1, side, side)
    assert len({one.graph.pool() for one in recordings(recorder)}) == 1
    recorder.forget()
    assert not any(cuda.users.values())
    for _ in range(3):
        check(recorder, 1, 4, 4)
    assert len(recordings(recorder)) == 1


@pytest.mark.parametrize("error", ["operation not permitted", "CUDA out of memory"])
def test_a_shape_that_cannot_be_recorded_runs_on_its_own_stream_all_the_same(cuda, recorder, error):
    cuda.fails = RuntimeError(error)
    for n in range(4):
        check(recorder, 1, 4, 4, value=n)
        assert cuda.stream == "compute"
    assert not recordings(recorder)
    cuda.fails = None
    for _ in range(3):
        check(recorder, 1, 8, 8)
    assert len(recordings(recorder)) == 1


def test_a_pass_that_takes_much_of_the_gpu_is_not_recorded(cuda, recorder):
    cuda.device.total_memory = 4 * 16 * 10 - 1
    for n in range(3):
        check(recorder, 1, 4, 4, value=n)
    assert not recordings(recorder)
