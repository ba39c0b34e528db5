"""The public names of the package: complete, lazy, documented; arrays in, arrays out."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import sfseg
from sfseg import cli
from sfseg.errors import NonFiniteError, OptionError, SfsegError, StackError, UnknownNameError
from sfseg.prediction.jobs import Job
from sfseg.training.progress import EpochRecord

pytestmark = pytest.mark.usefixtures("small_shipped")


@pytest.fixture(scope="module")
def model():
    return sfseg.load_model(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def volume():
    return sfseg.make_tissue((2, 70, 90), seed=5)[0]


# --- the list of names


def test_the_list_of_names_is_sorted_and_is_what_is_exported():
    assert sfseg.__all__ == sorted(set(sfseg.__all__))
    assert sfseg._MODULE_OF.keys() == set(sfseg.__all__)
    assert set(sfseg.__all__) <= set(dir(sfseg))
    for name in sfseg.__all__:
        assert getattr(sfseg, name).__module__ == sfseg._MODULE_OF[name]


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(sfseg.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == sfseg._MODULE_OF


@pytest.mark.parametrize("name", sfseg.__all__)
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(getattr(sfseg, name))


def test_names_are_imported_when_they_are_used():
    code = (
        "import sys, sfseg; dir(sfseg); sfseg.SfsegError, sfseg.PredictConfig;"
        "assert 'torch' not in sys.modules; sfseg.Model; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'stitch'"):
        _ = sfseg.stitch


# --- predict equals the command


CASES = {
    "uint8": ({}, lambda volume: volume),
    "uint16": ({}, lambda volume: volume.astype(np.uint16) * 200),
    "float32": ({}, lambda volume: volume.astype(np.float32) / 7),
    "float64": ({}, lambda volume: volume / 7),
    "averaged": ({"tta": "d4"}, lambda volume: volume[:1, :48, :48]),
    "closed gaps": ({"close_gaps": True}, lambda volume: volume),
}


@pytest.mark.parametrize("case", CASES)
def test_an_array_gives_what_the_command_writes_to_the_bit(case, model, volume, tmp_path):
    options, make = CASES[case]
    array = make(volume)
    tifffile.imwrite(tmp_path / "in.tif", array, photometric="minisblack")
    arguments = ["predict", f"{tmp_path / 'in.tif'}", "-o", f"{tmp_path / 'out.tif'}"]
    arguments += ["--device", "cpu", "--precision", "float32"]
    arguments += ["--tta", options["tta"]] if "tta" in options else []
    arguments += ["--close-gaps"] if "close_gaps" in options else []
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    found = model.predict(array, **options)
    assert (found.shape, found.dtype) == (array.shape, np.float32)
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "out.tif").reshape(found.shape))


def test_predict_loads_the_model_itself(model, volume):
    found = sfseg.predict(volume, device="cpu", precision="float32")
    np.testing.assert_array_equal(found, model.predict(volume))


def test_a_section_is_predicted_as_a_stack_of_one(model, volume):
    section = model.predict(volume[0])
    assert section.shape == volume[0].shape
    np.testing.assert_array_equal(section, model.predict(volume[:1])[0])


def test_byte_order_memory_order_and_nested_lists_do_not_matter(model, volume):
    small = volume[:1, :32, :48].astype(np.uint16)
    expected = model.predict(small)
    for same in (small.astype(">u2"), np.asfortranarray(small), small.tolist()):
        np.testing.assert_array_equal(model.predict(same), expected)


def test_a_tensor_is_predicted_and_the_array_stays_what_it_was(model, volume):
    import torch

    small = volume[:1, :32, :48].copy()
    found = model.predict(torch.from_numpy(small))
    np.testing.assert_array_equal(found, model.predict(small))
    np.testing.assert_array_equal(small, volume[:1, :32, :48])


# --- what a notebook shows


def test_a_model_and_a_stack_and_scores_are_shown_in_a_line(model, volume, tmp_path):
    header = model.header
    assert repr(model) == (
        f"Model(sfnet, recipe {header.recipe!r}, torch in float32 on cpu, halo {model.halo_px} px)"
    )
    assert "sha256" not in repr(header)
    path = f"{tmp_path / 'in.tif'}"
    sfseg.write_stack(path, volume, voxel_size_nm=(50, 4, 4))
    with sfseg.open_stack(path) as stack:
        shown = f"Stack({path!r}, 2 sections of 70x90, uint8, voxel 50x4x4 nm)"
        assert repr(stack) == shown
    same = sfseg.score(volume > 99, volume > 99)
    scored = "V_Rand 1.000000 at threshold 0.0, V_Info 1.000000 at threshold 0.0, Dice 1.000000"
    assert repr(same) == f"Scores(2 sections of 70x90, {scored})"


def test_a_prediction_is_shown_in_a_line():
    job = Job("in.tif", Path("out.tif"))
    stages = {"read_s": 0.1, "compute_s": 1.0, "write_s": 0.1}
    result = sfseg.PredictResult(job, (1, 70, 90), None, 0.776, 0.0, 0, 1.23, stages, 0, 1)
    shown = "PredictResult('out.tif', 1 section of 70x90, 78% inside cells, 1.2 s)"
    assert repr(result) == shown


@pytest.mark.parametrize(
    ("history", "finished", "shown"),
    [
        ((), False, "TrainResult('w.safetensors', stopped after step 7)"),
        (
            (0.9, 0.8),
            True,
            "TrainResult('w.safetensors', finished after step 7, best V_Rand 0.9000)",
        ),
    ],
)
def test_a_training_is_shown_in_a_line(history, finished, shown):
    records = tuple(EpochRecord(1, 0.5, 0.1, 2.0, v_rand=v_rand) for v_rand in history)
    assert repr(sfseg.TrainResult(Path("w.safetensors"), records, finished, 7)) == shown


def make_lazy(library, pixels, folder):
    """The pixels as an array of another library, which reads them when NumPy asks for them."""
    if library == "dask":
        return pytest.importorskip("dask.array").from_array(pixels, chunks=(1, 40, 40))
    if library == "h5py":
        file = pytest.importorskip("h5py").File(folder, "w", driver="core", backing_store=False)
        return file.create_dataset("raw", data=pixels)
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(folder, shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 40, 40))
    array[...] = pixels
    return array


LIBRARIES = ["zarr", "dask", "h5py"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_arrays_of_other_libraries_give_what_numpy_gives(library, model, volume, tmp_path):
    labels = sfseg.make_tissue((2, 70, 90), seed=5)[1]
    lazy, truth = (
        make_lazy(library, pixels, tmp_path / name)
        for name, pixels in (("volume", volume), ("labels", labels))
    )
    found = model.predict(lazy)
    np.testing.assert_array_equal(found, model.predict(volume))
    assert sfseg.score(make_lazy(library, found, tmp_path / "map"), truth) == sfseg.score(
        found, labels
    )
    sfseg.write_stack(tmp_path / "a.tif", lazy)
    with sfseg.open_stack(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read(), volume)


def test_a_dask_array_of_a_length_that_is_not_known_yet_is_predicted(model, volume):
    array = pytest.importorskip("dask.array").from_array(volume)
    chosen = array[array[:, 0, 0] >= 0]
    assert np.isnan(chosen.shape[0])
    np.testing.assert_array_equal(model.predict(chosen), model.predict(volume))


def test_a_damaged_chunk_of_a_zarr_array_gets_a_sentence(volume, tmp_path):
    array = make_lazy("zarr", volume, tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    for call in (sfseg.predict, lambda pixels: sfseg.write_stack(tmp_path / "a.tif", pixels)):
        with pytest.raises(StackError, match="NumPy cannot make an array of it") as caught:
            call(array)
        assert "check the file" in caught.value.hint
    assert not (tmp_path / "a.tif").exists()


@pytest.mark.parametrize("library", ["zarr", "h5py"])
def test_a_group_where_an_array_belongs_gets_a_sentence(library, tmp_path):
    module = pytest.importorskip(library)
    make = module.open_group if library == "zarr" else module.File
    group = make(tmp_path / "group", mode="w")
    for call in (
        lambda: sfseg.predict(group),
        lambda: sfseg.score(group, group),
        lambda: sfseg.write_stack(tmp_path / "a.tif", group),
    ):
        with pytest.raises(StackError, match="of named arrays, not an array") as caught:
            call()
        assert caught.value.hint == "pass one of its arrays"


def test_an_array_larger_than_memory_gets_a_sentence(tmp_path):
    zeros = pytest.importorskip("dask.array").zeros((10**6, 10**6, 10**6), "u1", chunks=10**5)
    for call in (sfseg.predict, lambda pixels: sfseg.write_stack(tmp_path / "a.tif", pixels)):
        with pytest.raises(StackError, match="the array does not fit in memory"):
            call(zeros)


# --- wrong arguments


FILE, ARRAY = "map.tif", np.zeros((20, 20), np.uint8)
MIXED_UP = {
    "predict": (lambda: sfseg.predict(FILE), "predict_file"),
    "predict_file": (lambda: sfseg.predict_file(ARRAY, FILE), "sfseg.predict takes arrays"),
    "predict_file, out": (lambda: sfseg.predict_file(FILE, ARRAY), "sfseg.predict takes arrays"),
    "score": (lambda: sfseg.score(FILE, ARRAY), "score_files"),
    "score, labels": (lambda: sfseg.score(ARRAY, Path(FILE)), "score_files"),
    "score_files": (lambda: sfseg.score_files(ARRAY, FILE), "sfseg.score takes arrays"),
    "open_stack": (lambda: sfseg.open_stack(ARRAY), "an array needs no opening"),
    "read_labels": (lambda: sfseg.read_labels(ARRAY), "an array needs no opening"),
    "write_stack": (lambda: sfseg.write_stack(ARRAY, FILE), "str or a pathlib.Path"),
    "write_stack, array": (lambda: sfseg.write_stack(FILE, FILE), "sfseg.open_stack"),
    "load_model": (lambda: sfseg.load_model(ARRAY), "str or a pathlib.Path"),
    "train": (lambda: sfseg.train(out="run", images=ARRAY), "str or a pathlib.Path"),
    "train, config": (lambda: sfseg.train("run"), "by their names"),
    "learn_costs": (lambda: sfseg.learn_costs(ARRAY, FILE), "sfseg.learn_cost_files"),
    "learn_cost_files": (lambda: sfseg.learn_cost_files(FILE, ARRAY), "sfseg.learn_costs takes"),
    "measure": (lambda: sfseg.measure(FILE), "sfseg.measure_file"),
    "measure_file": (lambda: sfseg.measure_file(ARRAY, "a.csv"), "sfseg.measure takes arrays"),
    "fetch": (lambda: sfseg.fetch(ARRAY), "isbi2012"),
}


@pytest.mark.parametrize("case", MIXED_UP)
def test_an_array_for_a_path_and_a_path_for_an_array_get_a_sentence(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, hint = MIXED_UP[case]
    with pytest.raises(SfsegError) as caught:
        call()
    assert "needed here, not " in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint
    assert list(tmp_path.iterdir()) == []


BAD = {
    "complex": (np.zeros((8, 8), complex), "no real numbers"),
    "objects": (np.full((8, 8), None), "no real numbers"),
    "text": (np.full((8, 8), "a"), "no real numbers"),
    "one axis": (np.zeros(8), "is no stack"),
    "four axes": (np.zeros((1, 2, 8, 8)), "is no stack"),
    "colour": (np.zeros((8, 8, 3), np.uint8), "colour"),
    "no section": (np.zeros((0, 8, 8)), "is no stack"),
    "no rows": (np.zeros((0, 8)), "is no stack"),
    "uneven lists": ([[1, 2], [3]], "NumPy cannot make an array of it"),
    "nothing": (None, "no real numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_stack_of_numbers_is_refused_before_the_weights_are_read(case):
    array, message = BAD[case]
    with pytest.raises(StackError, match=message):
        sfseg.predict(array, model="not looked at")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_named(model, value):
    array = np.zeros((2, 20, 20), np.float32)
    array[1, 3, 5] = value
    with pytest.raises(NonFiniteError, match=r"section 2: .* row 3, column 5"):
        model.predict(array)


@pytest.mark.parametrize(
    ("call", "error", "hint"),
    [
        (lambda: sfseg.load_model("sfnet-isbi"), UnknownNameError, "sfnet-isbi2012"),
        (lambda: sfseg.load_model(engine="torhc"), OptionError, "choose one"),
        (lambda: sfseg.predict(ARRAY, tta="d5"), OptionError, "choose one"),
        (lambda: sfseg.predict_file(FILE, "o.tif", ttta="d4"), UnknownNameError, "'tta'"),
        (lambda: sfseg.predict_file(FILE, "o.png"), OptionError, "o.tif"),
        (lambda: sfseg.PredictConfig(threshold=np.nan), OptionError, "0.5"),
        (lambda: sfseg.PredictConfig(memory_gib=np.inf), OptionError, "--memory 4"),
        (lambda: sfseg.train(out="run", sed=1), UnknownNameError, "'seed'"),
        (lambda: sfseg.train(dataset="tissue"), OptionError, "out="),
        (lambda: sfseg.train(out="run", recipe="defualt"), UnknownNameError, "'default'"),
        (lambda: sfseg.fetch("isbi2021"), UnknownNameError, "isbi2012"),
        (lambda: sfseg.make_tissue((64, 64)), OptionError, "three"),
    ],
)
def test_unknown_names_and_missing_options_get_a_hint(call, error, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        call()
    assert hint in caught.value.hint


# --- files


def test_options_go_on_top_of_a_configuration(volume, tmp_path):
    sfseg.write_stack(tmp_path / "in.tif", volume[:1], voxel_size_nm=(50, 4, 4))
    config = sfseg.PredictConfig(device="cpu", output="binary")
    result = sfseg.predict_file(
        f"{tmp_path / 'in.tif'}", f"{tmp_path / 'out.tif'}", config, threshold=0.25
    )
    assert isinstance(result, sfseg.PredictResult)
    with sfseg.open_stack(tmp_path / "out.tif") as stack:
        expected = sfseg.predict(volume[:1], device="cpu") > 0.25
        np.testing.assert_array_equal(stack.read() == 255, expected)


def test_scores_of_arrays_and_of_files_are_the_same(tmp_path):
    labels = sfseg.make_tissue((2, 64, 64))[1]
    map_ = np.roll(labels, 1, axis=2)
    sfseg.write_stack(tmp_path / "map.tif", map_)
    sfseg.write_stack(tmp_path / "labels.tif", labels)
    scores = sfseg.score(map_, labels)
    assert isinstance(scores, sfseg.Scores)
    assert sfseg.score_files(tmp_path / "map.tif", f"{tmp_path / 'labels.tif'}").scores == scores
