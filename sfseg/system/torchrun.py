"""Which of several processes this one is, as `torchrun` tells each that it starts."""

import os


def processes() -> int:
    """Count the processes that were started together, on all machines."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched() else 1


def is_first() -> bool:
    """Tell whether this process is the only one, or speaks and writes for all."""
    return not _is_launched() or os.environ["RANK"] == "0"


def place_on_machine() -> tuple[int, int]:
    """Give the number of this process on its machine, from 0, and how many there are there."""
    if not _is_launched():
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def _is_launched() -> bool:
    # RANK and WORLD_SIZE alone are not enough: clusters set them for what is no torchrun.
    return "TORCHELASTIC_RUN_ID" in os.environ
