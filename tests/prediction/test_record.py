"""What a prediction is known by, and the record beside its output."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sfseg.config import SHIPPED_MODEL, PredictConfig
from sfseg.io import open_stack
from sfseg.models.weights import Header
from sfseg.prediction import record
from sfseg.prediction.engines import Choice, Engine
from sfseg.prediction.model import Model

ENGINE = Engine("torch", torch.device("cpu"), torch.bfloat16, np.zeros_like, 8)


@pytest.fixture
def source(tissue_folder):
    return str(tissue_folder / "volume.tif")


def identity(source, config=None, engine=ENGINE, limit_px=1000, weights_sha256="0" * 64):
    config = config or PredictConfig()
    header, choice = Header(arch="sfnet", recipe="default"), Choice("torch", "bfloat16")
    model = Model(torch.nn.Identity(), header, (engine,), choice, 16, weights_sha256)
    with open_stack(source) as stack:
        resolved = {**model.resolve(stack, config), "limit_px": limit_px}
        return record.make_identity(
            stack,
            config,
            resolved,
            input_id={"sha256": stack.sha256()},
            weights_sha256=weights_sha256,
        )


def test_an_identity_names_everything_that_decides_the_pixels(source):
    found = json.loads(json.dumps(identity(source)))
    assert found["input"]["shape"] == [4, 96, 112]
    assert found["input"]["dtype"] == "uint8"
    assert len(found["input"]["sha256"]) == 64
    assert found["weights"] == {"sha256": "0" * 64}
    assert {"sfseg", "torch", "numpy"} <= found["versions"].keys()
    assert found["resolved"] == {
        "engine": "torch",
        "dtype": "bfloat16",
        "device": "cpu",
        "limit_px": 1000,
    }


def test_the_threshold_counts_only_where_it_is_used(source):
    one, other = (identity(source, PredictConfig(threshold=t)) for t in (0.3, 0.5))
    assert one == other
    one, other = (identity(source, PredictConfig(output="binary", threshold=t)) for t in (0.3, 0.5))
    assert record.differences_of({"identity": one}, other) == ["  options.threshold: 0.3 -> 0.5"]


def test_openvino_s_version_counts_where_it_runs_and_only_there(source, monkeypatch):
    monkeypatch.setattr(record.metadata, "version", lambda name: f"that of {name}")
    by_openvino = identity(source, engine=replace(ENGINE, name="openvino"))
    assert by_openvino["versions"].keys() - identity(source)["versions"].keys() == {"openvino"}


def test_a_record_is_read_back_and_what_the_machine_resolved_may_differ(source, tmp_path):
    known = identity(source)
    with open_stack(source) as stack:
        text = record.make_record(
            known,
            stack,
            PredictConfig(),
            {
                "device": "cpu",
                "output": None,
                "pieces": 4,
                "interior_share": 0.5,
                "blank_sections": 0,
            },
        )
    (tmp_path / "out.tif.json").write_text(text)
    found = record.read_record(tmp_path / "out.tif")
    assert found["identity"] == json.loads(json.dumps(known))
    assert (found["schema"], found["pieces"], found["model"]) == (1, 4, SHIPPED_MODEL)
    assert found["device"] == "cpu"
    assert found["input"]["voxel_size_nm"] == [50, 4, 4]
    elsewhere = identity(source, engine=replace(ENGINE, dtype=torch.float32), limit_px=7)
    assert record.differences_of(found, elsewhere) == []
    other = identity(source, PredictConfig(tta="d4", tile_px=64))
    lines = "\n".join(record.differences_of(found, other))
    assert 'options.tta: "none" -> "d4"' in lines
    assert "options.tile_px: null -> 64" in lines


WHOLE = {
    "schema": 1,
    "identity": {},
    "output": None,
    "pieces": 1,
    "interior_share": 0.5,
    "blank_sections": 0,
}


@pytest.mark.parametrize(
    ("name", "value"), [("pieces", "1"), ("interior_share", None), ("identity", 3), ("output", 7)]
)
def test_a_record_with_a_value_of_another_type_is_no_record(tmp_path, name, value):
    for found, expected in ((WHOLE, WHOLE), ({**WHOLE, name: value}, None)):
        (tmp_path / "out.tif.json").write_text(json.dumps(found))
        assert record.read_record(tmp_path / "out.tif") == expected


@pytest.mark.parametrize(
    "text", [None, "", "no json", "[]", "[" * 100_000, '{"schema": 1}', '{"identity": 3}']
)
def test_a_record_that_is_not_there_or_no_record_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "out.tif.json").write_text(text)
    assert record.read_record(tmp_path / "out.tif") is None
