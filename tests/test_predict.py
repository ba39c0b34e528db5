import numpy as np
import pytest
import tifffile
from skimage.measure import label

from sfseg.config import PredictConfig
from sfseg.errors import NonFiniteError, OptionError, OutputExistsError, StackError
from sfseg.io import open_stack, write_stack
from sfseg.jobs import Job, plan_jobs
from sfseg.predict import Failure, PredictResult, predict, predict_file, predict_files
from sfseg.predictor import Predictor


def grey(batch):
    """Stand for a network: the brighter, the more probably interior."""
    return 1 / (1 + np.exp(-batch))


PREDICTOR = Predictor(grey, halo_px=16)


@pytest.fixture
def volume(tissue_files):
    return tissue_files / "volume.tif"


def run(source, out, **options):
    config = PredictConfig(**options)
    return predict_file(Job(str(source), out), PREDICTOR, config)


def test_the_output_is_float32_with_the_voxel_size_of_the_input(volume, tmp_path):
    result = run(volume, tmp_path / "out.tif")
    with open_stack(tmp_path / "out.tif") as stack:
        assert stack.shape == result.shape == (4, 128, 160)
        assert stack.dtype == np.float32
        assert stack.voxel_size_nm == (50, 4, 4)
        assert 0 <= stack.read().min() <= stack.read().max() <= 1
    with tifffile.TiffFile(tmp_path / "out.tif") as file:  # another reader finds it as well
        assert file.is_imagej
        assert file.imagej_metadata["spacing"] in (50, 0.05)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_integers_map_one_to_their_maximum(volume, tmp_path, dtype, top):
    run(volume, tmp_path / "f.tif")
    run(volume, tmp_path / "i.tif", dtype=dtype)
    exact, scaled = (tifffile.imread(tmp_path / name) for name in ("f.tif", "i.tif"))
    assert scaled.dtype == dtype
    np.testing.assert_allclose(scaled / top, exact, atol=0.5 / top + 1e-6)


def test_binary_is_255_where_the_probability_exceeds_the_threshold(volume, tmp_path):
    run(volume, tmp_path / "p.tif")
    run(volume, tmp_path / "b.tif", output="binary", threshold=0.7)
    probability, binary = (tifffile.imread(tmp_path / name) for name in ("p.tif", "b.tif"))
    np.testing.assert_array_equal(binary, np.where(probability.astype(float) > 0.7, 255, 0))


def test_segments_are_the_components_of_each_section_numbered_through(volume, tmp_path):
    run(volume, tmp_path / "b.tif", output="binary")
    run(volume, tmp_path / "s.tif", output="segments")
    binary, segments = (tifffile.imread(tmp_path / name) for name in ("b.tif", "s.tif"))
    assert segments.dtype == np.int32
    np.testing.assert_array_equal(segments > 0, binary > 0)
    numbered = 0
    for section, mask in zip(segments, binary, strict=True):
        count = label(mask > 0, connectivity=1, return_num=True)[1]
        assert sorted(set(section.ravel()) - {0}) == list(range(numbered + 1, numbered + count + 1))
        numbered += count


def test_nan_is_refused_with_its_place_and_leaves_nothing(tmp_path, rng):
    stack = rng.random((2, 20, 20), dtype=np.float32)
    stack[1, 3, 4] = np.nan
    write_stack(tmp_path / "nan.tif", stack, stack.shape, stack.dtype)
    with pytest.raises(NonFiniteError, match=r"nan\.tif.*section 2.*row 3.*column 4"):
        run(tmp_path / "nan.tif", tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["nan.tif"]


def test_an_interrupted_prediction_leaves_nothing(volume, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(
            Job(str(volume), tmp_path / "out.tif"), PREDICTOR, PredictConfig(), report=interrupt
        )
    assert not list(tmp_path.glob("out*"))


def test_an_existing_output_is_kept_unless_it_may_be_replaced(volume, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        plan_jobs([str(volume)], out)
    assert out.read_text() == "precious"
    (job,) = plan_jobs([str(volume)], out, overwrite=True)
    predict_file(job, PREDICTOR, PredictConfig(overwrite=True))
    assert tifffile.imread(out).shape == (4, 128, 160)


def test_the_input_is_never_the_output_even_with_overwrite(volume):
    before = volume.read_bytes()
    with pytest.raises(OutputExistsError, match="not an input"):
        plan_jobs([str(volume)], volume, overwrite=True)
    with pytest.raises(OutputExistsError, match="not an input"):
        plan_jobs([str(volume)], volume.parent, overwrite=True)
    assert volume.read_bytes() == before


def test_a_folder_as_output_takes_each_file_under_its_name(tissue_files, tmp_path):
    jobs = plan_jobs([str(tissue_files)], tmp_path / "maps")
    assert [job.output for job in jobs] == [
        tmp_path / "maps" / name for name in ("labels.tif", "volume.tif")
    ]


def test_a_folder_of_sections_becomes_one_file(tissue, tmp_path):
    (tmp_path / "sections").mkdir()
    for number in (1, 2, 10):
        tifffile.imwrite(tmp_path / "sections" / f"{number}.tif", tissue[0][number % 4])
    result = run(tmp_path / "sections", tmp_path / "out.tif")
    assert result.shape == (3, 128, 160)
    expected = PREDICTOR(tissue[0][10 % 4])
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif")[2], expected, atol=1e-6)


def test_several_inputs_need_a_folder(volume, tmp_path):
    with pytest.raises(OptionError, match="name a folder"):
        plan_jobs([str(volume), str(volume)], tmp_path / "out.tif")


def test_one_stack_in_one_call_wants_one_file(volume, tmp_path):
    with pytest.raises(OptionError, match=r"ending in \.tif"):
        predict(volume.parent, tmp_path / "maps")
    assert predict(volume, tmp_path / "map.tif").shape == (4, 128, 160)


def test_two_inputs_of_one_name_are_refused(volume, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / volume.name
    twin.write_bytes(volume.read_bytes())
    with pytest.raises(OptionError, match="expected one input"):
        plan_jobs([str(volume), str(twin)], tmp_path / "maps")


def test_a_source_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(StackError):
        plan_jobs([str(tmp_path / "none*.tif")], tmp_path / "maps")


def test_a_bad_file_does_not_stop_the_others(volume, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_text("no image")
    jobs = plan_jobs([str(bad), str(volume)], tmp_path / "maps")
    failure, result = predict_files(jobs, PREDICTOR, PredictConfig())
    assert isinstance(failure, Failure)
    assert "bad.tif" in str(failure.error)
    assert isinstance(result, PredictResult)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["volume.tif"]
