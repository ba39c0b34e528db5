"""The real ImageJ opens what sfseg writes, and sfseg reads what ImageJ saves.

One ImageJ runs for all tests. It needs a display even for a macro, so it runs under Xvfb.
"""

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import sfseg
from sfseg import io
from sfseg.config import LabelFormat
from sfseg.errors import StackError
from sfseg.io.labels import read_label_stack
from sfseg.io.palette import cell_colours
from tests.io.files import VOXEL

pytest.importorskip("torch")  # predicts, too
pytestmark = pytest.mark.slow

IJ_JAR = Path("/usr/share/java/ij.jar")
ROOT = Path(__file__).parents[2]
MACROS = ROOT / "examples" / "imagej"
TYPES = ("uint8", "uint16", "float32", "int32", "uint32")
BITS = {"uint8": "8", "uint16": "16", "float32": "32", "int32": "32", "uint32": "32"}
CLASSES = [(0, 0, 0), (230, 60, 20), (20, 60, 230)]

READ = """
list = getFileList(folder);
for (i = 0; i < list.length; i++) if (endsWith(list[i], ".tif")) {
    open(folder + list[i]);
    setSlice(nSlices);
    getVoxelSize(width, height, depth, unit);
    Stack.getDimensions(columns, rows, channels, slices, frames);
    getLut(reds, greens, blues);
    value = getPixel(2, 1);
    run("Duplicate...", "title=shown");
    run("RGB Color");
    shown = "" + (getPixel(0, 0) & 0xffffff) + " " + (getPixel(1, 0) & 0xffffff);
    close();
    print("file:" + list[i] + ":" + columns + "x" + rows + "x" + channels + "x" + slices + "x"
        + frames + " " + bitDepth() + " bits, voxel " + width + " " + height + " " + depth + " "
        + unit + ":" + value + ":" + reds[2] + " " + greens[2] + " " + blues[2] + ":" + shown);
    close();
}
"""

SAVE = """
open(folder + "map.tif");
setSlice(2);
setMinAndMax(0, 1);
makeOval(20, 30, 9, 9);
setForegroundColor(0, 0, 0);
run("Fill", "slice");
makeRectangle(60, 40, 5, 5);
setForegroundColor(255, 255, 255);
run("Fill", "slice");
saveAs("Tiff", folder + "saved/map.tif");
close();

open(folder + "binary.tif");
setSlice(2);
makeRectangle(60, 40, 5, 5);
run("Fill", "slice");
Overlay.addSelection("red");
saveAs("Tiff", folder + "saved/binary.tif");
run("Invert LUT");
saveAs("Tiff", folder + "saved/inverting.tif");
close();

open(folder + "map.tif");
setThreshold(0.5, 2);
run("Convert to Mask", "method=Default background=Dark");
print("inverting", is("Inverting LUT"));
saveAs("Tiff", folder + "saved/mask.tif");
close();

open(folder + "binary.tif");
open(folder + "map.tif");
run("8-bit");
run("Merge Channels...", "c1=binary.tif c4=map.tif create");
saveAs("Tiff", folder + "saved/composite.tif");
close();

open(folder + "map.tif");
setSlice(2);
makeRectangle(8, 16, 64, 48);
runMacro(macros + "predict.ijm", command);
saveAs("Tiff", folder + "saved/predicted.tif");
close();
close();

open(folder + "many.tif");
runMacro(macros + "colour_cells.ijm");
saveAs("Tiff", folder + "saved/colours.tif");
close();
close();
open(folder + "map.tif");
runMacro(macros + "predict.ijm", "no-such-program");
"""


def numbers(count, dtype):
    return (np.arange(count * 5 * 6).reshape(count, 5, 6) * 2).astype(dtype)


def write_files(folder, tissue):
    """Write a file of each kind, and what `sfseg predict` writes."""
    for dtype, count, voxel in product(TYPES, (1, 3), (VOXEL, (60e3, 2e3, 2e3), None)):
        name = f"{dtype} {count} {'' if voxel is None else voxel[0]}.tif"
        io.write_stack(folder / name, numbers(count, dtype), voxel_size_nm=voxel)
    classes = (numbers(3, "uint8") // 2) % 3
    io.write_stack(folder / "classes.tif", classes, voxel_size_nm=VOXEL, palette=CLASSES)
    many = np.arange(10_000, dtype=np.int32).reshape(1, 100, 100)
    io.write_stack(folder / "many.tif", many, voxel_size_nm=VOXEL)
    fast = {"engine": "torch", "precision": "float32"}
    for output in ("probability", "binary", "segments"):
        name = "map" if output == "probability" else output
        sfseg.predict_file(tissue / "volume.tif", folder / f"{name}.tif", output=output, **fast)


def write_command(folder, weights):
    """Write a program that is `sfseg` with the small network."""
    path = folder / "command"
    start = f'cd "{ROOT}" && exec "{sys.executable}" -m tests.small_sfseg "$@" --engine torch'
    path.write_text(f'#!/bin/sh\n{start} --precision float32 --model "{weights}"\n')
    path.chmod(0o700)
    return path


@pytest.fixture(scope="module")
def imagej(tmp_path_factory, tissue_folder, small_weights, small_shipped):  # noqa: ARG001
    """Open all files in ImageJ and save others; give the folder and the lines that it printed."""
    programs = [shutil.which(name) for name in ("java", "xvfb-run", "xauth")]
    if not (all(programs) and IJ_JAR.is_file()):
        pytest.skip("ImageJ is not here: apt-get install imagej xvfb xauth")
    folder = tmp_path_factory.mktemp("imagej")
    (folder / "saved").mkdir()
    write_files(folder, tissue_folder)
    command = write_command(folder / "saved", small_weights)
    texts = {"folder": f"{folder}/", "macros": f"{MACROS}/", "command": command}
    settings = [f'{name} = "{value}";\n' for name, value in texts.items()]
    macro = folder / "all.ijm"
    macro.write_text("".join(settings) + READ + SAVE)
    java, xvfb, _ = programs
    # no preferences of this user, and micrometres in UTF-8 whatever the locale
    options = [f"-Duser.home={folder}", f"-Djava.io.tmpdir={folder}"]
    options += ["-Dfile.encoding=UTF-8", "-Dsun.stdout.encoding=UTF-8"]
    run = [xvfb, "-a", java, *options, "-cp", IJ_JAR, "ij.ImageJ", "-batch", macro]
    ran = subprocess.run(run, capture_output=True, encoding="utf-8", timeout=300, check=True)
    return folder, ran.stdout.splitlines()


def opened(lines):
    """Return what ImageJ says of each file: layout, a pixel, colour of 2, colours of two pixels."""
    fields = [line.split(":") for line in lines if line.startswith("file:")]
    return {name.removesuffix(".tif"): facts for _, name, *facts in fields}


def test_size_type_calibration_and_pixels_are_right_in_imagej(imagej):
    found = opened(imagej[1])
    voxels = {str(VOXEL[0]): "4 4.6 50 nm", "60000.0": "2 2 60 µm", "": "1 1 1 pixels"}
    for dtype, count, voxel in product(TYPES, (1, 3), voxels):
        layout, value, colour, _ = found[f"{dtype} {count} {voxel}"]
        assert layout == f"6x5x1x{count}x1 {BITS[dtype]} bits, voxel {voxels[voxel]}"
        assert float(value) == numbers(count, dtype)[-1, 1, 2]
        cells = " ".join(map(str, cell_colours()[2]))
        assert colour == (cells if dtype in ("int32", "uint32") else "2 2 2")


def test_what_predict_writes_has_its_thickness_and_its_values(imagej):
    folder, lines = imagej
    for name, bits in (("map", 32), ("binary", 8), ("segments", 32)):
        layout, value, *_ = opened(lines)[name]
        assert layout == f"112x96x1x4x1 {bits} bits, voxel 4 4 50 nm"
        with io.open_stack(folder / f"{name}.tif") as stack:
            assert float(value) == pytest.approx(stack.read()[-1, 1, 2], abs=1e-4)


def test_border_is_black_and_the_first_cell_is_not_however_many_there_are(imagej):
    border, first = opened(imagej[1])["many"][3].split()  # of 9,999 cells
    assert (border, first) == ("0", str(0xFFFFFF))


def test_a_palette_of_small_labels_is_shown(imagej):
    layout, value, colour, _ = opened(imagej[1])["classes"]
    assert layout == "6x5x1x3x1 8 bits, voxel 4 4.6 50 nm"
    assert (value, colour) == ("2", " ".join(map(str, CLASSES[2])))


def test_the_macro_gives_neighbours_other_colours_and_keeps_border(imagej):
    shown = read(imagej[0] / "saved" / "colours.tif").ravel()
    assert shown[:3].tolist() == [0, 1, 2]
    assert shown[254:258].tolist() == [254, 255, 1, 2]


def read(path):
    with io.open_stack(path) as stack:
        return stack.read()


def test_a_map_that_was_painted_in_imagej_is_read_back(imagej):
    folder, _ = imagej
    before, after = read(folder / "map.tif"), read(folder / "saved" / "map.tif")
    assert after.dtype == np.float32
    assert (after[1, 34, 24], after[1, 42, 62]) == (0, 1)
    changed = np.argwhere(before != after)
    assert changed.min(0).tolist() == [1, 30, 20]
    assert changed.max(0).tolist() == [1, 44, 64]
    with io.open_stack(folder / "saved" / "map.tif") as stack:
        assert stack.voxel_size_nm == (50, 4, 4)


def test_a_painted_mask_is_labels_and_a_selection_drawn_on_it_does_not_matter(imagej):
    folder, _ = imagej
    expected = read(folder / "binary.tif")
    expected[1, 40:45, 60:65] = 255
    labels = read_label_stack(folder / "saved" / "binary.tif", LabelFormat())
    np.testing.assert_array_equal(labels.labels, expected)


def test_a_mask_with_an_inverting_lut_is_read_as_it_is_seen_and_sfseg_says_so(imagej):
    folder, lines = imagej
    assert "inverting 1" in lines
    painted = read(folder / "saved" / "binary.tif")
    inside = np.where(read(folder / "map.tif") > 0.5, 255, 0)
    for name, numbers_in_file in (("inverting", painted), ("mask", inside)):
        with io.open_stack(folder / "saved" / f"{name}.tif", labels=True) as stack:
            assert stack.notes == ("it has an inverting LUT: it is read as image programs show it",)
            np.testing.assert_array_equal(stack.read(), 255 - numbers_in_file)
        form = LabelFormat("membrane")
        labels = read_label_stack(folder / "saved" / f"{name}.tif", form).labels
        np.testing.assert_array_equal(labels, numbers_in_file)


def test_a_composite_is_refused_with_its_axes(imagej):
    with pytest.raises(StackError, match=r"4x2x96x112 \(ZCYX\) is not one stack"):
        read(imagej[0] / "saved" / "composite.tif")


def test_the_macro_predicts_the_selected_part_of_an_image(imagej):
    folder, lines = imagej
    with io.open_stack(folder / "saved" / "predicted.tif") as stack:
        assert stack.describe() == "4 sections of 48x64, float32, voxel 50x4x4 nm"
    assert any(line.startswith("sfseg made no map. Cannot run program") for line in lines)
    assert any(line.startswith('no-such-program predict "') for line in lines)
