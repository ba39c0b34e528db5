"""The browser of sections, before it stands in a page: what fits, and which colours cells have."""

import base64
import io
import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from sfseg.datasets.synthetic import make_tissue
from sfseg.io import open_stack, write_stack
from sfseg.report.browser import MOST_BYTES, Layer, make_browser
from sfseg.report.colours import colour_cells, find_span, match_colours, palette, stretch
from sfseg.report.page import ASSETS
from sfseg.report.score_page import Judged, write_score_page
from sfseg.scoring.score_files import score_files


@pytest.fixture
def noise(rng):
    """Sections of 1024x1100 that hardly become smaller when they are encoded."""
    return rng.integers(0, 256, (6, 1024, 1100), np.uint8)


def browse(sections, **options):
    numbers = range(11, 11 + len(sections))
    read = lambda index: [sections[index], (sections[index] > 128).astype(np.uint8)]  # noqa: E731
    layers = Layer("raw", "grey"), Layer("truth", "colours")
    return make_browser(layers, read, sections.shape[1:], numbers, **options)


def decode(address):
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.array(picture if picture.mode == "L" else picture.convert("RGBA"))


def test_a_stack_that_fits_is_shown_as_it_is(noise):
    found = browse(noise[:2], voxel_size_nm=(50, 4, 4))
    assert (found.notes, found.data["sections"]) == ((), [11, 12])
    assert found.data["shape"] == [1024, 1100]
    assert found.data["voxel_nm"] == [50, 4, 4]
    grey, colours = ([decode(one) for one in layer["pictures"]] for layer in found.data["layers"])
    assert np.abs(grey[1].astype(int) - noise[1]).mean() < 10
    assert colours[0].shape == (1024, 1100, 4)
    assert (colours[0][..., 3] > 0).tolist() == (noise[0] > 128).tolist()


def test_a_large_stack_is_shown_smaller_and_then_in_part(noise):
    found = browse(noise, most_bytes=800_000, ranking=[4, 1, 0, 2, 3, 5])
    assert found.data["shrink"] == 2
    assert decode(found.data["layers"][0]["pictures"][0]).shape == (512, 550)
    assert found.data["shape"] == [1024, 1100]
    assert found.notes[0] == "The pictures are shown at 1:2."
    assert found.data["sections"] == [11, 12, 15]
    assert found.notes[1] == "3 of 6 sections are shown, the worst ones."
    pictures = [one for layer in found.data["layers"] for one in layer["pictures"]]
    assert 400_000 < sum(map(len, pictures)) <= 800_000
    evenly = browse(noise, most_bytes=800_000)
    assert evenly.data["sections"] == [11, 13, 16]
    assert evenly.notes[1].endswith("evenly spaced.")


def test_neighbours_have_different_colours_and_cells_keep_theirs():
    cells = np.kron(np.arange(1, 65).reshape(8, 8), np.ones((12, 12), int)).astype(np.int32)
    colours = colour_cells(cells)
    for one, other in [(cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])]:
        differ = one != other
        assert (colours[one[differ]] != colours[other[differ]]).all()
    segments = cells.copy()
    segments[:, :7] = 70  # a merge, with the larger part of each cell of the first column
    segments[cells == 64] = 64 + (np.indices(cells.shape)[1][cells == 64] > 92)
    matched = match_colours(segments, cells, colours)
    assert matched[10] == colours[10]
    assert matched[64] == colours[64]
    assert matched[65] not in (0, colours[64])
    assert palette()[matched[10]][3] == 255


def test_grey_values_of_16_bits_get_the_contrast_of_the_stack(rng):
    deep = rng.normal(3000, 100, (3, 40, 40)).astype(np.uint16)
    deep[0, 0, 0] = 65535  # a hot pixel
    low, high = find_span(deep)
    assert 2600 < low < 2800
    assert 3200 < high < 3400
    assert stretch(deep[0], (low, high)).std() > 40
    assert find_span(deep.astype(np.uint8)) == (0, 255)
    assert find_span(np.full((2, 2), np.nan, np.float32)) == (0, 1)


def test_30_sections_of_512_with_two_maps_take_less_than_15_megabytes(tmp_path, rng):
    count = 6  # a page of 30 has five times as many pictures
    shape = count, 512, 512
    volume, labels = (np.tile(one, (1, 2, 2)) for one in make_tissue((1, 256, 256), seed=2))
    sections = np.repeat(volume, count, 0) + rng.normal(0, 12, shape)  # as noisy as EM
    smooth = ndimage.gaussian_filter(labels / 255, (0, 1.5, 1.5))
    soft = np.repeat(smooth, count, 0) * 0.9 + rng.uniform(0, 0.05, shape)
    paths = [tmp_path / f"{name}.tif" for name in ("volume", "one", "two", "labels")]
    arrays = sections.clip(0, 255).astype(np.uint8), soft, soft**2, np.repeat(labels, count, 0)
    for path, array in zip(paths, arrays, strict=True):
        write_stack(path, array.astype(np.float32) if array.dtype == float else array)
    judged = []
    for path in paths[1:3]:
        report = score_files(path, paths[3])
        judged.append(Judged(report, report.find_errors()))
    page = tmp_path / "page.html"
    with open_stack(paths[0]) as image:
        write_score_page(page, judged, image=image)
    whole = page.stat().st_size * 30 / count
    assert MOST_BYTES / 3 < whole < MOST_BYTES


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.js")), ids=lambda path: path.name)
def test_a_script_is_well_formed(path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    subprocess.run(["node", "--check", path], check=True)
