"""What napari gets of the files that sfseg reads; without napari."""

import gc

import numpy as np
import pytest

from sfseg.errors import OptionError, SfsegWarning, StackError
from sfseg.io import open_stack, write_picture, write_stack
from sfseg.napari_plugin import reader
from sfseg.napari_plugin.lazy import LazyStack
from sfseg.napari_plugin.sample import make_sample

SIZE = {"scale": (50.0, 4.0, 4.0), "units": ("nm", "nm", "nm")}


def read_one(path):
    ((pixels, settings, kind),) = reader.get_reader(str(path))(str(path))
    return pixels, settings, kind


@pytest.mark.parametrize("suffix", [".tif", ".mrc", ".zarr"])
def test_a_stack_is_an_image_with_the_size_of_its_voxels(suffix, tissue, tmp_path):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"volume{suffix}"
    volume = tissue[0].astype(np.uint16)  # MRC has no uint8
    write_stack(path, volume, voxel_size_nm=(50, 4, 4))
    pixels, settings, kind = read_one(path)
    assert (kind, settings["name"]) == ("image", "volume")
    assert np.array_equal(pixels, volume)
    assert settings["scale"] == pytest.approx(SIZE["scale"])
    assert settings["units"] == SIZE["units"]


def test_a_folder_of_pictures_has_no_size(tissue, tmp_path):
    for number, section in enumerate(tissue[0]):
        write_picture(tmp_path / f"{number}.png", section)
    pixels, settings, kind = read_one(tmp_path)
    assert (kind, pixels.shape) == ("image", tissue[0].shape)
    assert not settings.keys() & {"scale", "units"}


def test_one_section_is_no_stack_of_one(tissue, tmp_path):
    write_stack(tmp_path / "a.tif", tissue[0][0], voxel_size_nm=(50, 4, 5))
    pixels, settings, _ = read_one(tmp_path / "a.tif")
    assert pixels.shape == tissue[0].shape[1:]
    assert (settings["scale"], settings["units"]) == ((4.0, 5.0), ("nm", "nm"))


def test_sections_of_unknown_thickness_are_as_thick_as_a_pixel_and_the_layer_says_so(
    tissue, tmp_path
):
    write_stack(tmp_path / "a.tif", tissue[0], voxel_size_nm=(np.nan, 4, 4))
    _, settings, _ = read_one(tmp_path / "a.tif")
    assert settings["scale"] == (4.0, 4.0, 4.0)
    assert settings["metadata"]["sfseg"]["voxel_size_nm"] == [None, 4.0, 4.0]


def test_each_stack_of_an_hdf5_file_is_a_layer_and_the_rest_is_told(tissue, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "all.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["labels"] = tissue
        file["times"] = np.arange(5.0)
    with pytest.warns(SfsegWarning, match="times"):
        layers = reader.read(str(path))
    assert {settings["name"]: kind for _, settings, kind in layers} == {
        "all:/raw": "image",
        "all:/labels": "labels",
    }


def test_masks_and_numbers_of_cells_are_labels_and_a_map_is_none(tissue, tmp_path):
    volume, mask = tissue
    numbers = (np.cumsum(mask == 0, axis=2) * (mask > 0)).astype(np.int32)
    sure = np.where(mask > 0, 0.97, 0.02).astype(np.float32)
    sure[:, ::2] += 0.01
    written = {"volume": volume, "mask": mask, "numbers": numbers, "map": sure}
    for name, pixels in written.items():
        write_stack(tmp_path / f"{name}.tif", pixels)
    found = {name: read_one(tmp_path / f"{name}.tif") for name in written}
    assert {name: kind for name, (_, _, kind) in found.items()} == {
        "volume": "image",
        "mask": "labels",
        "numbers": "labels",
        "map": "image",
    }
    assert np.array_equal(found["numbers"][0], numbers)
    assert found["map"][1]["contrast_limits"] == (0.0, 1.0)


def test_errors_keep_their_hint_and_name_the_widget(tmp_path):
    (tmp_path / "a.tif").write_text("no image")
    with pytest.raises(StackError, match=r"not an image\nhint: "):
        reader.read(str(tmp_path / "a.tif"))
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 5), np.uint8))
    with pytest.raises((StackError, OptionError), match=r'"axes" .*in Plugins > sfseg > Open$'):
        reader.read(str(tmp_path / "a.npy"))
    with pytest.raises(OptionError, match="hint: use File > Open Folder"):
        reader.read(["1.tif", "2.tif"])


def test_a_large_stack_is_read_when_it_is_shown(monkeypatch, tissue_files):
    with open_stack(tissue_files / "volume.tif") as stack:
        whole = stack.read()
    monkeypatch.setattr(reader, "WHOLE_BYTES", whole.nbytes - 1)
    pixels, _, kind = read_one(tissue_files / "volume.tif")
    assert (type(pixels), kind) == (LazyStack, "image")
    assert (pixels.shape, pixels.ndim, pixels.size, len(pixels)) == (
        whole.shape,
        3,
        whole.size,
        len(whole),
    )
    for key in (
        1,
        -1,
        np.int64(2),
        (1, 5, 7),
        (slice(None), 5),
        (slice(None, None, 2), slice(3, 50, 4), slice(90, 10, -7)),
        (2, slice(5, 5)),
        (..., 3),
        (1, np.array([3, 1]), np.array([0, 2])),
        whole > 200,
    ):
        assert np.array_equal(pixels[key], whole[key])
        assert pixels[key].dtype == whole.dtype
    with pytest.raises(IndexError):
        pixels[len(whole)]
    assert np.array_equal(np.asarray(pixels), whole)


def test_a_large_stack_reads_no_other_section(monkeypatch, tissue_files):
    stack = open_stack(tissue_files / "volume.tif")
    asked = []
    window = stack.window
    monkeypatch.setattr(stack, "window", lambda *box: asked.append(box) or window(*box))
    LazyStack(stack, stack.close)[2, 10:20, 30]
    assert asked == [(2, slice(10, 20), slice(30, 31))]


def test_the_sample_is_tissue_with_its_labels():
    (volume, image, kind), (labels, truth, of_labels) = make_sample()
    assert (kind, of_labels) == ("image", "labels")
    assert volume.shape == labels.shape
    assert image["scale"] == truth["scale"] == SIZE["scale"]


def test_a_large_stack_stays_open_as_long_as_it_is_used(monkeypatch, tissue_files):
    monkeypatch.setattr(reader, "WHOLE_BYTES", 0)
    pixels, _, _ = read_one(tissue_files / "volume.tif")
    gc.collect()  # nothing else holds the file open
    assert pixels[3].any()
    stack, closed = pixels._stack, []
    close = stack._close
    monkeypatch.setattr(stack, "_close", lambda: closed.append(close()))
    del pixels
    gc.collect()
    assert closed == [None]
