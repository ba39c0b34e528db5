"""What a child is in the tests of signals and of several processes; see `tests.forks`."""

import os

from sfseg import models
from sfseg.cli import signals
from sfseg.prediction import compute, run
from tests.forks import command
from tests.networks import Small


def small_command(*arguments: object) -> None:
    """Be the command, with the small network in the place of SF network."""
    models.ARCHITECTURES = {**models.ARCHITECTURES, "sfnet": Small}
    command(*arguments)


def patient_command(*arguments: object) -> None:
    """Be the command, which waits for its running step however busy the machine is."""
    signals.GRACE_S = 3600
    small_command(*arguments)


def signalled_command(number: int, *arguments: object) -> None:
    """Be the command, which sends itself a signal when some pieces are done."""
    put, pieces = compute.WriteBehind.put, []

    def put_or_stop(self: compute.WriteBehind, item: object) -> None:
        put(self, item)
        pieces.append(item)
        if len(pieces) == 5:  # the third is written
            os.kill(os.getpid(), number)

    run.FLUSH_S, compute.WriteBehind.put = 0, put_or_stop
    small_command(*arguments)
