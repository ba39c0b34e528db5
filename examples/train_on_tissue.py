"""Train a small network on synthetic tissue, and collect its history.

Prints a line for each epoch, then the path of the weights, for example::

    epoch 1: loss 1.429, V_Rand 0.113
    epoch 2: loss 1.331, V_Rand 0.113
    runs/example/weights.safetensors
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import sfseg

out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")

# Two short epochs on small patches: enough to see the loss fall, not to segment well.
config = sfseg.TrainConfig(out=out, dataset="tissue")
recipe = dataclasses.replace(config.recipe, epochs=2, visits=2, patch_px=48, batch_size=6)


def report(record: Any) -> None:
    """Print a line for each epoch; steps are reported too, and have no score."""
    if hasattr(record, "v_rand"):
        print(f"epoch {record.epoch}: loss {record.loss:.3f}, V_Rand {record.v_rand:.3f}")


result = sfseg.train(dataclasses.replace(config, recipe=recipe), report=report)
print(result.weights)
