"""The sample of a section inside a margin is that away from the blocks of the margin."""

import numpy as np
import pytest

from sfseg.transforms.blocks import BLOCK_PX, BlockScan


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (31, 33), (33, 500), (512, 512), (601, 999)])
def test_the_inner_sample_is_that_away_from_the_outer_blocks(shape, rng):
    section, scan = rng.integers(0, 256, shape).astype(np.uint8), BlockScan(shape)
    for start in range(0, shape[0], 64):
        rows = slice(start, min(start + 64, shape[0]))
        scan.add(rows, section[rows])
    outer = np.ones([-(-length // BLOCK_PX) for length in shape], bool)
    outer[2:-2, 2:-2] = False
    np.testing.assert_array_equal(scan.inner_sample(2), scan.sample(outer), strict=True)
