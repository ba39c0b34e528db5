"""SF network learns: from zero, and better from weights."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sfseg.config import SHIPPED_MODEL, TrainConfig
from sfseg.datasets.synthetic import make_tissue
from sfseg.io import write_stack
from sfseg.prediction.predict import predict_file
from sfseg.recipes import DEFAULT, FINETUNE
from sfseg.scoring.score_files import score_files
from sfseg.training.train import train


@pytest.mark.slow
def test_training_learns_membranes_of_tissue(tissue_folder, tmp_path):
    config = TrainConfig(
        out=tmp_path / "run",
        recipe=dataclasses.replace(DEFAULT, epochs=3, visits=4, patch_px=32, batch_size=2),
        images=str(tissue_folder / "volume.tif"),
        labels=str(tissue_folder / "labels.tif"),
        validation="none",
        precision="float32",
    )
    result = train(config)
    losses = [record.loss for record in result.history]
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.slow
def test_eight_steps_from_the_shipped_weights_beat_them_and_a_training_from_zero(tmp_path):
    """On noisy tissue that neither has seen; section 1 is held out. V_Info rises by 0.11."""
    volume, labels = (str(tmp_path / f"{name}.tif") for name in ("volume", "labels"))
    images, truth = make_tissue((2, 128, 128), seed=7)
    noise = np.random.default_rng(7).normal(0, 60, images.shape)
    noisy = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    for path, stack in ((volume, noisy), (labels, truth)):
        write_stack(Path(path), stack)
    predict_file(volume, tmp_path / "map.tif")
    shipped = score_files(tmp_path / "map.tif", labels, sections="1").scores
    config = TrainConfig(
        out=tmp_path / "tuned",
        recipe=dataclasses.replace(FINETUNE, epochs=1, visits=16, patch_px=32, batch_size=2),
        images=volume,
        labels=labels,
        validation="1",
        init=SHIPPED_MODEL,
    )
    (tuned,) = train(config).history
    (zero,) = train(dataclasses.replace(config, out=tmp_path / "zero", init=None)).history
    assert tuned.v_info > shipped.v_info + 0.03  # V_Rand hangs on a cell or two
    assert shipped.v_info > zero.v_info
