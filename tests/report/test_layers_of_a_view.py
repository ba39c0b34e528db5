"""What a stack is, is found from its values."""

import imageio.v3 as iio
import numpy as np
import pytest

from sfseg.errors import ShapeMismatchError, StackError
from sfseg.io import write_stack
from sfseg.report.layers import Source, guess_kind, open_layers


@pytest.fixture(scope="module")
def stacks(tissue, tmp_path_factory):
    """Files of every kind, made from tissue."""
    folder = tmp_path_factory.mktemp("kinds")
    volume, labels = tissue
    sure = np.where(labels > 0, 0.97, 0.02) + np.random.default_rng(0).normal(0, 0.01, labels.shape)
    probability = sure.clip(0, 1).astype(np.float32)
    numbers = (np.cumsum(labels == 0, axis=2) * (labels > 0)).astype(np.int32)
    odd = volume.astype(np.float32)
    odd[:, 50, 50:52] = np.nan, np.inf
    framed = np.pad(volume, ((0, 0), (80, 80), (80, 80)))
    written = {
        "image8": volume,
        "image16": volume.astype(np.uint16) * 100,
        "image-dark": volume.astype(np.uint16) * 16,  # 12 of 16 bits
        "image-odd": odd,
        "image-real": volume.astype(np.float32) / 255,
        "image-framed": framed,
        "map": probability,
        "map8": (probability * 255).astype(np.uint8),
        "map16": (probability * 65535).astype(np.uint16),
        "mask": labels,
        "mask-of-ones": labels // 255,
        "labels": numbers,
    }
    for name, array in written.items():
        write_stack(folder / f"{name}.tif", array)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *(
            "image8",
            "image16",
            "image-dark",
            "image-odd",
            "image-real",
            "image-framed",
            "map",
            "map8",
            "map16",
            "mask",
        ),
        *("mask-of-ones", "labels"),
    ],
)
def test_the_values_of_a_stack_tell_what_it_is(name, stacks):
    with open_layers([Source(str(stacks / f"{name}.tif"))]) as (layer,):
        assert layer.kind == name.partition("-")[0].rstrip("0123456789")
        full = {"map8": 255, "map16": 65535, "mask": 255}.get(name, 1)
        assert layer.kind not in ("map", "mask") or layer.largest == full


def test_real_numbers_from_0_to_1_are_a_map_where_there_is_an_image_already(tissue):
    unsure = 0.3 + tissue[0].astype(np.float32) / 1000
    assert guess_kind(unsure) == "image"
    assert guess_kind(unsure, has_image=True) == "map"
    assert guess_kind(unsure * 255, has_image=True) == "image"
    assert guess_kind(np.zeros((1, 8, 8))) == "image"


def test_what_a_user_says_counts_and_images_are_the_lowest(stacks):
    sources = [Source(str(stacks / "image8.tif"), "map"), Source(str(stacks / "image16.tif"))]
    with open_layers(sources, pixel_size_nm=(8, 6)) as layers:
        assert [layer.kind for layer in layers] == ["image", "map"]
        assert layers[0].stack.voxel_size_nm[1:] == (8, 6)


def test_stacks_of_other_sections_are_refused(stacks):
    sources = [Source(str(stacks / f"{name}.tif")) for name in ("image8", "image-framed")]
    with (
        pytest.raises(ShapeMismatchError, match="256x272 do not lie on "),
        open_layers(sources),
    ):
        pass


def test_cells_in_colours_are_cells_and_a_photograph_is_refused(tmp_path, rng):
    cells = np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((9, 9, 1), np.uint8))
    iio.imwrite(tmp_path / "cells.png", cells)
    iio.imwrite(tmp_path / "photograph.png", rng.integers(0, 256, (60, 60, 3), np.uint8))
    with open_layers([Source(str(tmp_path / "cells.png"))]) as (layer,):
        assert layer.kind == "labels"
    with (
        pytest.raises(StackError, match="is not one stack of grey"),
        open_layers([Source(str(tmp_path / "photograph.png"))]),
    ):
        pass
