"""The number of this process among those that `torchrun` started together."""

import os


def processes() -> int:
    """Return how many processes were started together, on all machines."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched() else 1


def is_first() -> bool:
    """Tell whether this process is the only one, or the one that prints and writes for all."""
    return not _is_launched() or os.environ["RANK"] == "0"


def place_on_machine() -> tuple[int, int]:
    """Return the number of this process on its machine, from 0, and how many run there."""
    if not _is_launched():
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def _is_launched() -> bool:
    # RANK and WORLD_SIZE do not prove it: clusters set them without torchrun, too.
    return "TORCHELASTIC_RUN_ID" in os.environ
