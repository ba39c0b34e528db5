"""The plan of a prediction: tiles and batches for the memory that there is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfseg.config import PredictConfig
from sfseg.errors import DeviceError
from sfseg.prediction import plan as plans
from sfseg.prediction.engines import Engine
from sfseg.prediction.plan import Plan
from sfseg.prediction.predictor import Predictor

GIB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Stack:
    """As much of a stack as a plan looks at."""

    buffer_bytes = decoding_bytes = 0

    def __init__(self, shape=(5, 1000, 2000), dtype=np.uint8):
        self.shape, self.dtype = shape, np.dtype(dtype)


@pytest.fixture(autouse=True)
def _a_machine_of_16_gib(monkeypatch):
    monkeypatch.setattr(plans, "available_bytes", lambda _device: 16 * GIB)
    monkeypatch.setattr(plans, "used_bytes", lambda: GIB // 2)
    monkeypatch.setattr(plans, "base_bytes", lambda: GIB // 2)


def engine(device=CPU, bytes_per_px=500):
    return Engine("torch", device, torch.float32, np.zeros_like, bytes_per_px)


def limit(device=CPU, bytes_per_px=500, stack=None, **options):
    made = engine(device, bytes_per_px)
    return plans.limit_px(made, stack or Stack(), PredictConfig(**options), halo_px=16)


def test_a_tile_takes_three_quarters_of_what_is_available():
    taken = limit() * 500 + plans.BUFFERS_BYTES
    assert 0.74 * 16 * GIB < taken <= 0.75 * 16 * GIB


@pytest.mark.parametrize("memory_gib", [1.5, 4, 20])
def test_a_memory_limit_bounds_the_whole_process(memory_gib):
    taken = limit(memory_gib=memory_gib) * 500 + plans.BUFFERS_BYTES + GIB // 2
    assert 0.98 * memory_gib * GIB < taken <= memory_gib * GIB


def test_an_average_takes_more_for_each_pixel():
    assert limit(tta="flips") == limit(tta="d4") < limit(tta="none")


def test_the_buffers_bound_the_windows_of_a_light_engine():
    for dtype, each in ((np.uint8, 6), (np.uint16, 8), (np.float32, 12)):
        found = limit(bytes_per_px=1, stack=Stack(dtype=dtype))
        assert found == plans.BUFFERS_BYTES // each


def test_where_there_is_no_memory_a_tile_still_has_a_side_of_four_halos():
    assert limit(memory_gib=0.1) == 64 * 64


def test_memory_kept_from_an_earlier_stack_does_not_make_tiles_smaller(monkeypatch):
    before = limit(), limit(memory_gib=4)
    monkeypatch.setattr(plans, "used_bytes", lambda: 5 * GIB // 2)
    monkeypatch.setattr(plans, "available_bytes", lambda _device: 14 * GIB)
    assert (limit(), limit(memory_gib=4)) == before


def test_segments_leave_less_for_the_tiles():
    assert limit(output="segments") == limit() - 13 * 1000 * 2000 // 500


def test_a_gpu_s_memory_counts_and_not_what_is_named_for_the_process():
    assert limit(CUDA) == limit(CUDA, memory_gib=1) == 12 * GIB // 500


def test_a_tile_has_no_more_pixels_than_an_engine_takes():
    made = replace(engine(CUDA), most_px=2**24)
    assert plans.limit_px(made, Stack(), PredictConfig(), halo_px=16) == 2**24


def test_only_an_engine_that_takes_tensors_has_two_batches_under_way():
    takes = replace(engine(CUDA), forward=lambda sections: (sections, sections))
    assert [plans.passes(one) for one in (takes, engine(CUDA), engine())] == [2, 1, 1]


def test_a_cpu_gets_one_tile_at_once_and_a_gpu_as_many_as_fit():
    tiles = Predictor(np.zeros_like, 16).tiles((496, 512))
    config = PredictConfig()
    assert plans.batch_size(engine(), tiles, config) == 1
    assert plans.batch_size(engine(CUDA), tiles, config) == 16  # four megapixels
    assert plans.batch_size(engine(CUDA, 16_000), tiles, config) == 3
    assert plans.batch_size(engine(CUDA, 10**6), tiles, config) == 1
    large = Predictor(np.zeros_like, 16).tiles((4096, 4096))
    assert plans.batch_size(engine(CUDA), large, config) == 1


def plan(stack, *, tile_px=None, **options):
    tiles = Predictor(np.zeros_like, 16, tile_px=tile_px).tiles(stack.shape[1:])
    return Plan.from_tiles(tiles, engine(), stack, PredictConfig(**options), None)


def test_a_plan_says_in_one_line_what_it_costs():
    whole = plan(Stack((1, 1024, 2048)))
    assert (whole.tiles, whole.tile_px, whole.overhead) == (1, (1024, 2048), 1)
    assert str(whole) == "plan: 1 section whole, 1.5 GiB at most"
    cut = plan(Stack((5, 1024, 2048)), tile_px=512)
    assert (cut.tiles, cut.tile_px) == (8, (528, 544))
    tiles = "5 sections in 8 tiles of 528x544 each, 10% more pixels for the halos"
    assert str(cut) == f"plan: {tiles}, 0.6 GiB at most"


@pytest.mark.parametrize(("device", "threads"), [(CPU, 1), (CUDA, 3)])
def test_pictures_that_are_decoded_as_a_whole_take_memory_in_each_thread(
    device, threads, monkeypatch
):
    monkeypatch.setattr(plans, "usable_processors", lambda: 6)
    plain, pictures = Stack((5, 1024, 2048)), Stack((5, 1024, 2048))
    pictures.decoding_bytes = GIB
    tiles = Predictor(np.zeros_like, 16, tile_px=512).tiles((1024, 2048))
    peaks = [
        Plan.from_tiles(tiles, engine(device), stack, PredictConfig(), None).peak_bytes
        for stack in (plain, pictures)
    ]
    assert peaks[1] - peaks[0] == threads * GIB


def test_pictures_that_are_decoded_as_a_whole_leave_less_for_the_tiles():
    pictures = Stack()
    pictures.decoding_bytes = GIB
    less = limit(memory_gib=4) - limit(stack=pictures, memory_gib=4)
    assert less * 500 == pytest.approx(GIB, rel=0.01)


def test_segments_take_memory_for_a_whole_section():
    stack = Stack((1, 1024, 2048))
    more = plan(stack, output="segments").peak_bytes - plan(stack).peak_bytes
    assert more >= 1024 * 2048 * (1 + 4)


def test_closing_gaps_takes_memory_for_a_whole_section_beside_its_segments():
    stack = Stack((1, 1024, 2048))
    closed = plan(stack, close_gaps=True).peak_bytes - plan(stack).peak_bytes
    assert closed == 1024 * 2048 * plans.GAPS_BYTES
    both = plan(stack, close_gaps=True, output="segments").peak_bytes - plan(stack).peak_bytes
    assert both == closed + 1024 * 2048 * plans.SEGMENTS_BYTES
    assert limit(close_gaps=True) == limit() - plans.GAPS_BYTES * 1000 * 2000 // 500
    assert limit(CUDA, close_gaps=True) == limit(CUDA)  # the section lies in the host's memory


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("options", [{}, {"memory_gib": 4}], ids=str)
def test_gaps_of_a_section_that_does_not_fit_are_refused_before_the_work(device, options):
    huge = Stack((1, 14_000, 14_000))  # 18 GiB
    assert limit(device, stack=huge, **options) > 0
    with pytest.raises(DeviceError, match=r"--close-gaps: .* 14000x14000 needs \d+\.\d GiB"):
        limit(device, stack=huge, close_gaps=True, **options)


def test_a_plan_within_its_memory_says_so():
    """The estimate agrees with the limit that it was made by."""
    stack = Stack((1, 8192, 8192))
    for memory_gib in (2, 4, 8):
        config = PredictConfig(memory_gib=memory_gib)
        most = plans.limit_px(engine(), stack, config, halo_px=16)
        tiles = Predictor(np.zeros_like, 272, limit_px=most).tiles((8192, 8192))
        found = Plan.from_tiles(tiles, engine(), stack, config, None)
        assert 0.5 * memory_gib * GIB < found.peak_bytes <= memory_gib * GIB


def test_a_plan_that_needs_more_than_there_is_says_so_before_the_work(monkeypatch):
    big = plan(Stack((1, 1024, 2048)))  # 1.5 GiB
    assert plans.memory_warning(big, PredictConfig()) is None
    monkeypatch.setattr(plans, "available_bytes", lambda _device: GIB // 2)
    told = plans.memory_warning(big, PredictConfig())
    assert "needs up to 1.49 GiB of memory, but only 1.00 GiB may be used" in told
    assert told.endswith("--tile 256 needs less")
    told = plans.memory_warning(big, PredictConfig(tile_px=1024))
    assert told.endswith("a smaller --tile needs less")


@pytest.mark.parametrize("tile_px", [None, 256])
def test_the_remedy_is_of_what_takes_the_memory_the_tiles_or_decoding(tile_px):
    config, stack = PredictConfig(memory_gib=1, tile_px=tile_px), Stack((1, 2048, 2048))
    stack.decoding_bytes = GIB
    cut = plan(stack, tile_px=256)
    assert cut.decoding_bytes == GIB > cut.tile_bytes
    told = plans.memory_warning(cut, config)
    remedy = "decoding the input takes 1.00 GiB of it: saved as an uncompressed TIFF it needs less"
    assert told.endswith(f"the system may kill it; {remedy}")
    whole = plan(stack)
    assert whole.tile_bytes > GIB
    assert "--tile" in plans.memory_warning(whole, config)


def test_a_plan_that_needs_more_than_is_allowed_says_so_too():
    told = plans.memory_warning(plan(Stack((1, 1024, 2048))), PredictConfig(memory_gib=1.25))
    assert "only 1.25 GiB may be used" in told
