"""Predict the sample with the shipped weights and score the map, from Python."""

import sys
from pathlib import Path

from sfseg.config import PredictConfig
from sfseg.prediction.predict import predict
from sfseg.scoring.score import score_files

sample = Path(__file__).parent / "sample"
out = Path(sys.argv[1] if len(sys.argv) > 1 else "out.tif")

result = predict(sample / "volume.tif", out, PredictConfig(tta="d4", overwrite=True))
print(f"{result.shape[0]} sections, {result.interior_share:.0%} of them inside cells")

scores = score_files(out, sample / "labels.tif").scores
print(f"V_Rand {scores.v_rand:.4f} at threshold {scores.v_rand_threshold:.1f}")
