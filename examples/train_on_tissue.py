"""Train a small run on synthetic tissue, from Python, and collect its history."""

import dataclasses
import sys
from pathlib import Path

from sfseg.config import TrainConfig
from sfseg.recipes import DEFAULT
from sfseg.training.progress import EpochRecord, StepRecord
from sfseg.training.train import train

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")

# Two short epochs on small patches: enough to see the loss fall, not to segment well.
recipe = dataclasses.replace(DEFAULT, epochs=2, visits=2, patch_px=48, batch_size=6)
config = TrainConfig(out=out, dataset="tissue", recipe=recipe)


def report(record: StepRecord | EpochRecord) -> None:
    """Print a line for each epoch."""
    if isinstance(record, EpochRecord):
        print(f"epoch {record.epoch}: loss {record.loss:.3f}, V_Rand {record.v_rand:.3f}")


result = train(config, report=report)
print(result.weights)
