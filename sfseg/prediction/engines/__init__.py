"""Engines: each runs a network fast on one device, in fp16, bf16, float32 or int8.

`make_engine` makes the requested one, and tries whether 16 bits are good enough. Every engine takes
normalised sections and gives interior probability. Batch normalisation is folded into the
convolutions, and activations lie channels last.
"""

from sfseg.prediction.engines.choose import ENGINES, Choice, make_engine
from sfseg.prediction.engines.engine import Engine, describe

__all__ = ["ENGINES", "Choice", "Engine", "describe", "make_engine"]
