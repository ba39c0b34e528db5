"""Previews: one picture of a few sections, pixel for pixel, of stacks of any size."""

import imageio.v3 as iio
import numpy as np
import pytest

from sfseg.errors import OptionError
from sfseg.io import Stack, open_array
from sfseg.report import sections
from sfseg.report.colours import EMPTY_COLOUR, MEMBRANE_COLOUR
from sfseg.report.layers import Layer
from sfseg.report.paint import MEMBRANE_OPACITY
from sfseg.report.panels import PANEL_PX, draw_rows
from sfseg.report.preview import MARGIN_PX, write_preview
from sfseg.report.sections import View, read_image, read_labels, read_map, whole


def layer(array, kind, largest=1.0, voxel=None):
    stack = open_array(array, "test")
    stack.voxel_size_nm = voxel
    return Layer(stack, kind, largest)


@pytest.fixture(scope="module")
def image(tissue):
    return layer(tissue[0], "image", voxel=(50, 4, 4))


@pytest.fixture(scope="module")
def mask(tissue):
    return layer(tissue[1], "mask", 255)


def test_the_picture_has_the_pixels_of_the_image_and_the_membranes_on_top(
    image, mask, tissue, tmp_path
):
    write_preview(tmp_path / "out.png", [image, mask])
    page = iio.imread(tmp_path / "out.png")
    volume, labels = (stack[0].repeat(4, 0).repeat(4, 1) for stack in tissue)  # 448 of 512 pixels
    height, width = volume.shape
    first = page[:, MARGIN_PX : MARGIN_PX + width]
    (top,) = (y for y in range(300) if np.array_equal(first[y : y + height, :, 0], volume))
    panels = page[top : top + height, MARGIN_PX:-MARGIN_PX]
    overlay = panels[:, -width:].astype(float)
    mixed = volume[..., None] * (1 - MEMBRANE_OPACITY)
    mixed = mixed + MEMBRANE_OPACITY * np.array(MEMBRANE_COLOUR)
    assert np.abs(overlay[labels == 0] - mixed[labels == 0]).max() <= 1
    assert (overlay[labels > 0] == volume[labels > 0][:, None]).all()


def test_a_row_says_which_section_it_is_and_how_long_a_pixel_is(image, mask):
    rows = draw_rows([image, mask], (0, 3))
    assert [row.title for row in rows] == ["section 1 of 4", "section 4 of 4"]
    assert [panel.title for panel in rows[0].panels] == ["image", "mask", "image + mask"]
    assert (rows[0].bar.text, rows[0].bar.length_px) == ("100 nm", 100)  # 1 nm in a pixel
    unknown = draw_rows([mask], (0,))[0].bar
    assert (unknown.text, unknown.length_px) == ("20 px", 80)


def test_what_holds_no_tissue_looks_like_neither_cell_nor_membrane(tissue):
    volume = np.zeros((1, 200, 200), np.uint8)
    volume[:, 80:176, 60:172] = tissue[0][:1]
    probability = np.zeros(volume.shape, np.float32)
    (row,) = draw_rows([layer(volume, "image"), layer(probability, "map")], (0,))
    image, of_map, overlay = (panel.colours for panel in row.panels)
    assert row.has_empty
    assert (of_map[:100] == EMPTY_COLOUR).all()
    assert (overlay[:100] == EMPTY_COLOUR).all()
    assert (image[:100] == 0).all()
    assert (of_map[240:300, 240:300] == 0).all()


def test_cells_have_colours_also_over_the_image(image, tissue):
    numbers = np.zeros(tissue[0].shape, np.int64)
    numbers[:, :40], numbers[:, 50:] = 7, 2**40
    _, cells, overlay = draw_rows([image, layer(numbers, "labels")], (0,))[0].panels
    assert len(np.unique(cells.colours.reshape(-1, 3), axis=0)) == 3
    assert (cells.colours[164:196] == 0).all()
    grey = (overlay.colours == overlay.colours[..., :1]).all(axis=2)
    assert grey[164:196].all()
    assert not grey[:160].all()


def test_a_name_is_written_as_it_is_whatever_is_in_it(mask, tmp_path, recwarn):
    stack = mask.stack
    name = "$\\frac{$\n\x1b[31m<b>\udce4\u6f22" + "long" * 90
    hostile = Stack(
        name, stack.shape, stack.dtype, None, read_window=stack.window, sha256=str, close=int
    )
    write_preview(tmp_path / "out.png", [Layer(hostile, "mask", 255)])
    assert not recwarn
    with pytest.raises(FileExistsError):
        write_preview(tmp_path / "out.png", [mask])
    with pytest.raises(OptionError, match="up to 20 sections, not 21"):
        write_preview(tmp_path / "many.png", [mask], sections=range(21))


def test_of_large_sections_one_is_shown_whole_and_the_middle_of_each_pixel_for_pixel(
    monkeypatch,
):
    monkeypatch.setattr(sections, "BAND_PX", 2**17)
    side, reads = 4096, []

    def read(index, rows, columns):
        reads.append((index, rows.stop - rows.start, columns.stop - columns.start))
        return np.add.outer(np.arange(rows.start, rows.stop), np.arange(side)[columns]) % 251

    huge = Stack(
        "huge",
        (1000, side, side),
        np.dtype(np.uint8),
        None,
        read_window=read,
        sha256=str,
        close=int,
    )
    rows = draw_rows([Layer(huge, "image"), Layer(huge, "map", 255)], (0, 499, 999))
    assert [row.title for row in rows] == [
        "section 1 of 1000, 4096x4096 pixels at 1:8".replace("1 of", "500 of"),
        *(
            f"section {number} of 1000, the middle 512x512 of 4096x4096 pixels"
            for number in (1, 500, 1000)
        ),
    ]
    assert {row.panels[0].colours.shape for row in rows} == {(PANEL_PX, PANEL_PX, 3)}
    assert max(height * width for _, height, width in reads) <= 2**17
    assert sum(height * width for index, height, width in reads if index != 499) == 4 * 512**2


@pytest.mark.parametrize("shape", [(1, 1), (37, 61), (64, 40)])
@pytest.mark.parametrize("factor", [1, 3, 8])
def test_a_smaller_section_is_made_of_the_means_of_blocks(shape, factor, rng, monkeypatch):
    monkeypatch.setattr(sections, "BAND_PX", 1)
    array = rng.integers(1, 256, (1, *shape), np.uint8)
    stack = open_array(array, "test")
    view = View(0, slice(0, shape[0]), slice(0, shape[1]), factor)
    starts = [np.arange(0, length, factor) for length in shape]
    padded = np.pad(array[0], [(0, -length % factor) for length in shape], mode="edge")
    blocks = padded.reshape(len(starts[0]), factor, len(starts[1]), factor).swapaxes(1, 2)
    grey, _ = read_image(stack, view)
    probability, membrane = read_map(stack, view, 255)
    labels = read_labels(stack, view)
    assert np.allclose(grey, blocks.mean((2, 3)))
    assert np.allclose(probability, blocks.mean((2, 3)) / 255)
    assert np.allclose(membrane, (blocks < 127.5).mean((2, 3)))
    assert labels.shape == grey.shape
    assert (labels[..., None, None] == blocks).any((2, 3)).all()


def test_a_view_of_a_whole_section_has_at_most_so_many_pixels():
    stack = open_array(np.zeros((1, 1000, 300), np.uint8), "test")
    for most in (64, 100, 333, 1000):
        view = whole(stack, 0, most)
        assert -(-1000 // view.factor) <= most
