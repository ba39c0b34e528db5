"""The option `--dask` of commands whose sections do not depend on each other."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.console import EXIT_SOME_FAILED, say, say_error
from sfseg.cli.options import MACHINE
from sfseg.errors import BlocksError

if TYPE_CHECKING:
    from sfseg.system.sharing import Share

DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Compute on a Dask cluster: the address of its scheduler, tcp://host:8786, or "
        "local: a worker for each core of this machine.",
        rich_help_panel=MACHINE,
    ),
]


def require_dask(dask: str | None) -> None:
    """Refuse what is no address, before any work; raises OptionError."""
    if dask is not None:
        from sfseg.cluster.checks import require_address

        require_address(dask)


@contextlib.contextmanager
def share_on(dask: str | None, *, can_resume: bool) -> Iterator["Share | None"]:
    """Connect to a cluster for the block, and say so; yield None without one.

    Parameters
    ----------
    dask : str, optional
        The address of a scheduler, or local.
    can_resume : bool
        Whether the workers keep what they find. If some blocks fail, the exit code says so.
    """
    if dask is None:
        yield None
        return
    from sfseg.cluster.connect import connect

    with connect(dask, device="cpu") as cluster:
        from sfseg.cluster.share import ClusterShare

        share = ClusterShare.start(cluster, can_resume=can_resume, say=say)
        say(f"computing on {cluster.describe()}")
        try:
            yield share
        except BlocksError as error:
            if not can_resume:
                raise
            say_error(error)
            raise typer.Exit(EXIT_SOME_FAILED) from error
