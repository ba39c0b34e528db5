"""End trainings by SIGTERM at any moment: with exit code 143, and no step is lost.

Of any training, by its options, such as the largest network with the largest state::

    python -m tests.trust.signals --recipe thesis --epochs 1 --arch fusionnet
"""

import signal
import sys

from tests.trust.rows import Row
from tests.trust.trainings import ARCHS, stop_and_resume

NAME = (
    "SIGTERM while training: exit code 143, every finished step saved, and goes on to the same bits"
)


def run(count: int, seed: int) -> Row:
    """Try so many trainings."""
    kinds = [("--arch", arch) for arch in ARCHS]
    return stop_and_resume(NAME, count, seed, signal.SIGTERM, kinds)


if __name__ == "__main__":
    sys.stdout.write(f"{stop_and_resume(NAME, 5, 0, signal.SIGTERM, [sys.argv[1:]])}\n")
