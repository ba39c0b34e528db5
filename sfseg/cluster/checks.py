"""What can be refused before a cluster is asked."""

import re
from collections.abc import Sequence

from sfseg.config import PredictConfig
from sfseg.errors import OptionError
from sfseg.prediction.jobs import Job
from sfseg.system.remote import is_remote

LOCAL = "local"
"""The address that stands for a cluster on this machine."""


def require_address(address: str) -> tuple[str, int] | None:
    """Refuse what cannot be the address of a scheduler.

    Returns
    -------
    tuple of (str, int) or None
        Host and port; None for a cluster on this machine.

    Raises
    ------
    OptionError
        If it is neither ``local`` nor an address.
    """
    if address == LOCAL:
        return None
    found = re.fullmatch(r"(?:tcp|tls)://\[?([^/\[\]]+)\]?:([0-9]{1,5})", address)
    if found is None:
        raise OptionError(
            f"--dask: must be local, or the address of a scheduler, not {address!r}",
            hint="--dask tcp://host:8786; the scheduler prints its address when it starts",
        )
    return found[1], int(found[2])


def require_possible(jobs: Sequence[Job], config: PredictConfig) -> None:
    """Refuse outputs that many workers cannot write.

    Raises
    ------
    OptionError
        If an output is no .zarr, is made in parts or of planes, or its cells are numbered through
        the stack.
    """
    for job in jobs:
        if job.output.suffix.lower() != ".zarr":
            raise OptionError(
                f"{job.output}: --dask only works with an output that ends in .zarr, because many "
                "workers write to it",
                hint=f"-o {job.output.with_suffix('.zarr')}",
            )
        if is_remote(job.output):
            raise OptionError(
                f"{job.output}: --dask cannot write to a bucket",
                hint="write it to a disk that all workers see, then copy it",
            )
    if config.is_in_parts:
        raise OptionError(
            "--dask: it does not work with --sections or --finish, which are for jobs without Dask",
            hint="leave --sections and --finish out: --dask predicts all sections",
        )
    if config.planes:
        raise OptionError(
            "--dask: it does not work with --planes, whose planes have pixels of all sections",
            hint="leave out --planes or --dask",
        )
    if config.output in ("segments", "cells"):
        raise OptionError(
            f"--output {config.output} does not work with --dask, because the numbers of cells "
            "continue from section to section",
            hint="leave --output out, then run sfseg segment on the map",
        )
