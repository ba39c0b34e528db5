"""Reading ahead and writing behind: order, errors, Ctrl-C, and no item kept too long."""

import gc
import itertools
import random
import signal
import threading
import time
import traceback
import weakref
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg.prediction import pipeline
from sfseg.prediction.pipeline import WriteBehind, read_ahead
from sfseg.system.threads import ordered

PATIENCE_S = 600  # of a test that would hang


class SpoiledError(Exception):
    """What goes wrong in these tests."""


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("sfseg")] == []


def error_of(run):
    """Return the error that a call ends with, or None."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - the tests look at any
        return error
    return None


def dawdle(rng):
    """Give the other threads their turn, now and then for longer."""
    time.sleep(rng.choice([0, 0, 0, 1e-5, 1e-4, 1e-3]))


maybe_at = st.none() | st.integers(0, 8)


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(0, 9),
    depth=st.integers(1, 4),
    fails_at=maybe_at,
    left_at=maybe_at,
    seed=st.integers(0, 99),
)
def test_reading_ahead_gives_what_reading_would(count, depth, fails_at, left_at, seed):
    taken, making, where, rng = [], 0, set(), random.Random(seed)

    def items():
        nonlocal making
        try:
            for making in range(count):
                assert making - len(taken) <= depth + 1  # taken lags by one behind the hand-over
                dawdle(rng)
                if making == fails_at:
                    raise SpoiledError
                yield making
        finally:
            where.add(threading.current_thread())

    def go_through(source):
        for item in source:
            taken.append(item)
            dawdle(rng)
            if item == left_at:
                return "left"
        return "all"

    fails = fails_at is not None and fails_at < count
    leaves = left_at is not None and left_at < (fails_at if fails else count)
    try:
        with read_ahead(items(), depth) as ahead:
            end = go_through(ahead)
    except SpoiledError:
        end = "spoiled"
    assert end == ("left" if leaves else "spoiled" if fails else "all")
    assert taken == list(range(left_at + 1 if leaves else fails_at if fails else count))
    assert all(thread.name.startswith("sfseg") for thread in where)
    assert list(ahead) == []


def test_the_error_of_the_producer_is_the_very_object_with_its_own_traceback():
    error = SpoiledError("in the making")

    def items():
        yield 1
        raise error

    with pytest.raises(SpoiledError) as caught, read_ahead(items()) as ahead:
        list(ahead)
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names.index("__next__") < names.index("items")


def test_items_that_cannot_be_iterated_are_refused_in_the_block():
    with pytest.raises(TypeError, match="not iterable"), read_ahead(3) as ahead:
        next(ahead)


@pytest.mark.parametrize("depth", [1, 3])
def test_reading_goes_ahead_by_the_depth_and_one_more(depth):
    reached = threading.Event()

    def items():
        for index in itertools.count():
            if index == depth:
                reached.set()
            yield index

    with read_ahead(items(), depth):
        assert reached.wait(PATIENCE_S)


@pytest.mark.parametrize("error", [None, SpoiledError, KeyboardInterrupt])
def test_leaving_the_block_closes_the_producer(error):
    closed = threading.Event()

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    def leave():
        with read_ahead(items()) as ahead:
            next(ahead)
            if error:
                raise error

    assert isinstance(error_of(leave), error or type(None))
    assert closed.is_set()


@pytest.mark.parametrize("own", [None, KeyboardInterrupt])
def test_an_error_in_closing_is_raised_unless_the_block_has_one_of_its_own(own):
    def items():
        try:
            yield from itertools.count()
        finally:
            raise SpoiledError

    def run():
        with read_ahead(items()) as ahead:
            next(ahead)
            if own:
                raise own

    with pytest.raises(own or SpoiledError):
        run()


def test_an_item_that_was_returned_is_not_kept_in_memory():
    class Item:
        pass

    making = threading.Event()
    release = threading.Event()

    def items():
        yield Item()
        making.set()
        release.wait(PATIENCE_S)

    with read_ahead(items()) as ahead:
        item = weakref.ref(next(ahead))
        assert making.wait(PATIENCE_S)
        gc.collect()
        assert item() is None
        release.set()


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(0, 9),
    depth=st.integers(1, 4),
    fails_at=maybe_at,
    left_at=maybe_at,
    seed=st.integers(0, 99),
)
def test_writing_behind_writes_what_writing_would(count, depth, fails_at, left_at, seed):
    begun, consumed, handed, rng = 0, [], 0, random.Random(seed)

    def consume(item):
        nonlocal begun
        begun += 1
        dawdle(rng)
        if item == fails_at:
            raise SpoiledError
        consumed.append(item)

    def run():
        nonlocal handed
        with WriteBehind(consume, depth) as behind:
            for item in range(count):
                behind.put(item)
                handed += 1
                assert handed - begun <= depth + 1  # begun lags by one behind the hand-over
                dawdle(rng)
                if item == left_at:
                    raise KeyboardInterrupt

    leaves = left_at is not None and left_at < count
    fails = fails_at is not None and fails_at < count
    allowed = {KeyboardInterrupt} if leaves else set()
    allowed |= {SpoiledError} if fails else set()  # of both, whichever comes first
    assert type(error_of(run)) in (allowed or {type(None)})
    assert consumed == list(range(len(consumed)))
    assert len(consumed) == count or leaves or len(consumed) == fails_at
    assert fails_at not in consumed


def test_the_error_of_the_consumer_is_raised_by_every_later_put_and_by_the_end():
    error, failed = SpoiledError("in writing"), threading.Event()

    def consume(_item):
        failed.set()
        raise error

    def run():
        with WriteBehind(consume, depth=1) as behind:
            behind.put(0)
            failed.wait(PATIENCE_S)
            errors = [error_of(lambda: behind.put(1)) for _ in range(9)]
            assert set(errors[3:]) == {error}  # the first ones may have been quicker

    assert error_of(run) is error


def test_a_put_that_waits_for_a_place_is_woken_by_the_error():
    full = threading.Event()

    def consume(_item):
        full.wait(PATIENCE_S)
        raise SpoiledError

    def run():
        with WriteBehind(consume, depth=1) as behind:
            behind.put(0)
            behind.put(1)
            threading.Timer(0.02, full.set).start()
            behind.put(2)

    with pytest.raises(SpoiledError):
        run()


def test_an_error_of_the_block_drops_what_waits_and_wins():
    begun, release, consumed = threading.Event(), threading.Event(), []

    def consume(item):
        begun.set()
        release.wait(PATIENCE_S)
        consumed.append(item)
        raise SpoiledError

    def run():
        with WriteBehind(consume) as behind:
            behind.put(0)
            behind.put(1)
            begun.wait(PATIENCE_S)
            threading.Timer(0.02, release.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert consumed == [0]


def interrupt_main(after_s=0.02):
    def interrupt():
        time.sleep(after_s)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def release_when_stopped(behind, release):
    """Let the consumer continue only after the block has been left."""

    def wait():
        while not behind._stopped:
            time.sleep(0.001)
        release.set()

    threading.Thread(target=wait, daemon=True).start()


def test_ctrl_c_ends_a_put_that_waits_for_a_place():
    release, consumed = threading.Event(), []

    def consume(item):
        release.wait(PATIENCE_S)
        consumed.append(item)

    def run():
        with WriteBehind(consume, depth=1) as behind:
            release_when_stopped(behind, release)
            behind.put(0)
            interrupt_main()
            for item in itertools.count(1):
                behind.put(item)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert consumed == [0]


def test_ctrl_c_ends_the_wait_at_the_end_but_not_before_the_thread_is_through():
    release, consumed = threading.Event(), []

    def consume(item):
        release.wait(PATIENCE_S)
        consumed.append(item)

    def run():
        with WriteBehind(consume, depth=2) as behind:
            behind.put(0)
            behind.put(1)
            release_when_stopped(behind, release)
            interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert consumed == [0]


def test_ctrl_c_ends_the_wait_for_an_item():
    release = threading.Event()

    def items():
        release.wait(PATIENCE_S)
        yield 0

    def run():
        with read_ahead(items()) as ahead:
            interrupt_main()
            try:
                next(ahead)
            finally:
                release.set()

    with pytest.raises(KeyboardInterrupt):
        run()


def test_busy_time_is_that_of_the_work_and_not_of_waiting(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    with read_ahead(range(7)) as ahead:
        assert len(list(ahead)) == 7
    assert ahead.busy_s == 9  # one step of the clock to begin, for each item, and for the end
    with WriteBehind(lambda _: None) as behind:
        for item in range(7):
            behind.put(item)
    assert behind.busy_s == 7


def test_a_whole_pipeline_raises_the_error_of_its_last_stage():
    def run():
        with (
            read_ahead(itertools.count()) as ahead,
            WriteBehind(lambda item: 1 / (item - 5)) as behind,
        ):
            for item in ahead:
                behind.put(item)

    with pytest.raises(ZeroDivisionError):
        run()


# --- ordered


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(ordered(lambda item: item * item, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]


def test_one_worker_is_the_thread_that_iterates_and_takes_an_item_only_when_asked():
    taken = []
    results = ordered(lambda _: threading.get_ident(), map(taken.append, range(3)), 1)
    assert next(results) == threading.get_ident()
    assert len(taken) == 1


def test_as_many_calls_as_workers_run_at_the_same_time():
    together = threading.Barrier(3, timeout=PATIENCE_S)
    assert len(list(ordered(lambda _: together.wait(), range(6), 3))) == 6  # else one would hang


def test_no_more_items_are_taken_than_workers_can_have():
    taken = []
    results = ordered(lambda item: item, (taken.append(i) or i for i in range(100)), 3)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    assert len(taken) <= 4 + 3
    results.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_in_the_place_of_its_result(workers):
    results = ordered(lambda item: 1 / (2 - item), range(6), workers)
    assert [next(results), next(results)] == [0.5, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_calls_that_run_have_ended_when_the_results_are_closed():
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def call(item):
        if item:
            begun.set()
            may_end.wait(PATIENCE_S)
        ended.append(item)

    results = ordered(call, range(9), 2)
    next(results)
    begun.wait(PATIENCE_S)
    may_end.set()
    results.close()  # and `_no_thread_stays`
    assert 0 in ended
    assert len(ended) < 9
