"""Engines: a network made to run fast on a device.

`make_engine` makes the one that is asked for, and finds the arithmetic by trying. Each takes
normalised sections and gives interior probability; batch normalisation is folded into the
convolutions, activations lie channels last, and the arithmetic is bf16 or float32.
"""

from sfseg.prediction.engines.choose import ENGINES, Choice, make_engine
from sfseg.prediction.engines.engine import Engine

__all__ = ["ENGINES", "Choice", "Engine", "make_engine"]
