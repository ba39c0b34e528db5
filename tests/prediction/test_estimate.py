"""What a prediction will take: bytes from the shapes, hours from a trial."""

import json
import time
from dataclasses import replace

import pytest

from sfseg.config import PredictConfig
from sfseg.io import write_stack
from sfseg.prediction import estimate
from sfseg.prediction.engines import Engine
from sfseg.prediction.estimate import estimate_job
from sfseg.prediction.jobs import Job
from sfseg.prediction.model import Model
from tests.cli.commands import FAST, fails, sfseg

pytestmark = pytest.mark.usefixtures("small_shipped")


def test_dry_run_says_what_the_work_takes_and_writes_nothing(volume, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "maps" / "out.zarr"
    command = (
        "predict",
        volume,
        "-o",
        out,
        "--dry-run",
        "--dtype",
        "uint16",
        "--multiscale",
        *FAST,
    )
    shown = sfseg(*command, "--price", 2).stdout
    assert (
        "volume.tif: 4 sections of 96x112, uint8, voxel 50x4x4 nm\nplan: 4 sections whole" in shown
    )
    assert "4 sections: 42 KiB to read and 112 KiB to write, before compression" in shown
    assert shown.count("like this one: ") == 3
    assert sfseg("predict", volume, "-o", out, "--price", 2).exit_code == 2
    (facts,) = json.loads(sfseg(*command, "--price", 2, "--json").stdout)
    assert (facts["sections"], facts["tiles"], facts["read_bytes"]) == (4, 4, 4 * 96 * 112)
    assert facts["written_bytes"] == pytest.approx(4 * 96 * 112 * 2 * 4 / 3, abs=4)
    one, ten, hundred = facts["machines"]
    assert one["hours"] == pytest.approx(4 * 96 * 112 / facts["px_per_s"] / 3600)
    assert ten["hours"] == hundred["hours"] == pytest.approx(one["hours"] / 4)  # whole sections
    assert one["cost"] == pytest.approx(2 * one["hours"])
    assert ten["cost"] == pytest.approx(20 * ten["hours"])
    assert "--finish" in fails("predict", volume, "-o", out, "--dry-run", "--finish", code=2)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("options", [{"tile_px": 32}, {"tile_px": 32, "close_gaps": True}])
def test_the_rate_is_that_of_the_trial_which_ends_in_time(tmp_path, tissue, options, monkeypatch):
    """An engine that takes 0.05 s for each tile; each section has four, and there are 40."""

    def slow(batch):
        time.sleep(0.05)
        return batch * 0 + 0.5

    write_stack(tmp_path / "many.tif", tissue[0][[0] * 40, :90, :90])
    config = PredictConfig(device="cpu", precision="float32", **options)
    model = Model.load(config)
    engine = Engine("torch", model.engine.device, model.engine.dtype, slow, bytes_per_px=8)
    model = replace(model, engines=(engine,), halo_px=16)
    monkeypatch.setattr(estimate, "TRIAL_S", 0.3)
    found = estimate_job(Job(str(tmp_path / "many.tif"), tmp_path / "out.tif"), model, config)
    assert found.section_s >= 0.2
    assert found.seconds(1) == pytest.approx(40 * found.section_s)
    assert found.seconds(7) == pytest.approx(6 * found.section_s)
    assert found.trial_px < 40 * 90 * 90 / 2
