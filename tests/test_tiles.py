import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfseg import models
from sfseg.tiles import halo_px, plan


@pytest.mark.parametrize("arch", ["sfnet", "unet", "fusionnet"])
def test_no_input_beyond_the_halo_changes_an_output(arch):
    network = models.build(arch).eval().double()
    halo = halo_px(network, models.STRIDE)
    with torch.no_grad():
        for parameter in network.parameters():  # positive weights: nothing cancels or dies
            parameter.abs_()
    strip = torch.zeros(1, 1, 16, 2 * halo + 48, dtype=torch.float64)
    middle = strip.shape[-1] // 2
    with torch.inference_mode():
        background = network(strip)
        strip[0, 0, 8, middle] = 1.0
        changed = (network(strip) != background).any(dim=2).flatten().nonzero().flatten()
    reach = max(middle - int(changed.min()), int(changed.max()) - middle)
    assert reach <= halo
    assert reach > halo - 4 * models.STRIDE  # computed, not merely generous


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    core=st.integers(1, 5),
    halo=st.integers(0, 5),
)
def test_cores_cover_each_pixel_once_and_keep_what_they_read(shape, core, halo):
    shape = (16 * shape[0], 16 * shape[1])
    section = np.arange(shape[0] * shape[1]).reshape(shape)
    copied, times = np.full(shape, -1), np.zeros(shape, int)
    for tile in plan(shape, 16 * core, 16 * halo):
        copied[tile.write] = section[tile.read][tile.keep]
        times[tile.write] += 1
        assert all(s.start % 16 == 0 for s in tile.read)
    assert (times == 1).all()
    assert (copied == section).all()
