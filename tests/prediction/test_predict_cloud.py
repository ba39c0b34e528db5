"""Prediction from a bucket, and into one."""

import json
from pathlib import Path

import pytest

from sfseg import io
from sfseg.config import PredictConfig
from sfseg.errors import ResumeError
from sfseg.prediction.jobs import Job
from sfseg.prediction.predict import predict_job
from tests.buckets import SECRET, upload
from tests.prediction.test_predict import MODEL

pytest.importorskip("zarr")
pytest.importorskip("obstore", reason="the extra cloud is not installed")

TILED = {"tile_px": 32}


@pytest.fixture
def volume(tissue, tmp_path):
    """Two sections of 90x90, in a folder."""
    io.write_stack(tmp_path / "in.zarr", tissue[0][:2, :90, :90], voxel_size_nm=(50, 4, 4))
    return tmp_path / "in.zarr"


def predict(source, output, **options):
    said = []
    config = PredictConfig(**(TILED | options))
    result = predict_job(Job(str(source), Path(output)), MODEL, config, say=said.append)
    return result, said


def test_a_map_of_a_bucket_has_the_bytes_of_one_of_a_folder(bucket, volume, tmp_path):
    upload(volume, f"{bucket}/in.zarr")
    for source, name in ((volume, "a.tif"), (f"{bucket}/in.zarr", "b.tif")):
        predict(source, tmp_path / name)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    record = (tmp_path / "b.tif.json").read_text()
    assert json.loads(record)["input"]["source"] == f"{bucket}/in.zarr"
    assert SECRET not in record
    assert predict(f"{bucket}/in.zarr", tmp_path / "b.tif", resume=True)[0].resumed == 8
    io.write_stack(volume, io.open_stack(volume).read() // 2, overwrite=True)
    upload(volume, f"{bucket}/in.zarr")
    with pytest.raises(ResumeError, match="input"):
        predict(f"{bucket}/in.zarr", tmp_path / "b.tif", resume=True)
