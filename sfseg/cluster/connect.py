"""Connect to a Dask cluster, or start one on this machine.

`distributed` is an extra; it is imported when a cluster is wanted.
"""

import contextlib
import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from sfseg.cluster.checks import require_address
from sfseg.errors import ClusterError, MissingExtraError
from sfseg.system.limits import usable_processors
from sfseg.types import format_count

CONNECT_S = 10.0
"""A scheduler that has not answered in this time is not there."""

_OWN_PORT = "127.0.0.1:0"
"""A free port, which only this machine can reach."""

_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""For the workers of this machine: a terminal sends Ctrl-C to them, too. The main process takes it,
and ends them."""

_SILENT = logging.CRITICAL + 1
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Cluster:
    """A Dask cluster that this process is connected to; `connect` makes one.

    Attributes
    ----------
    address : str
        That of its scheduler.
    client : distributed.Client
        The connection.
    """

    def __init__(self, address: str, client: Any) -> None:
        self.address, self.client = address, client

    def __repr__(self) -> str:
        return f"Cluster({self.address!r})"

    def threads(self) -> dict[str, int]:
        """Return the threads of each worker, by its address.

        Raises
        ------
        ClusterError
            If the connection is lost.
        """
        with self.explain_errors():
            found: Mapping[str, int] = self.client.nthreads()
        return dict(found)

    def describe(self) -> str:
        """Say how many workers there are, and where one can watch them."""
        threads = self.threads()
        text = f"{format_count(len(threads), 'worker')} of {self.address}"
        with self.explain_errors():
            link = self.client.dashboard_link
        return f"{text}, dashboard {link}" if link else text

    def require_versions(self, wanted: Mapping[str, str]) -> None:
        """Refuse workers with other versions than those of this process.

        Parameters
        ----------
        wanted : mapping of str to str
            The versions of packages here.

        Raises
        ------
        ClusterError
            If a worker has another version, or lacks a package; or the connection is lost.
        """
        for package, version in wanted.items():
            with self.explain_errors():
                # Functions of Python itself: a worker may have no module of this version.
                if package == "sfseg":
                    found = self.client.run(resolve_name, "sfseg:__version__", on_error="return")
                elif package == "python":
                    found = self.client.run(platform.python_version, on_error="return")
                else:
                    found = self.client.run(metadata.version, package, on_error="return")
            for worker, theirs in found.items():
                if theirs != version:
                    raise versions_differ(worker, package, theirs, version)

    @contextlib.contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Turn a lost connection into a ClusterError."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            is_closed = type(error).__name__ == "CommClosedError"  # before the client knows it
            if isinstance(error, ClusterError) or (self.is_connected and not is_closed):
                raise
            raise self.lost() from error

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler answers, as far as is known."""
        return bool(self.client.status == "running")

    def lost(self) -> ClusterError:
        """Make the error for a connection that is lost."""
        return ClusterError(
            f"{self.address}: the connection to the scheduler is lost",
            hint="start the cluster again, then add --resume to the same command",
        )


def versions_differ(worker: str, package: str, theirs: object, ours: str) -> ClusterError:
    """Make the error for a worker with another version, or with an error instead of one."""
    has = f"{package} {theirs}" if isinstance(theirs, str) else f"no {package}"
    return ClusterError(
        f"{worker}: this worker has {has}, but {package} {ours} is here",
        hint=f"install {package} {ours} for all workers, and start them again",
    )


@contextlib.contextmanager
def connect(address: str, *, device: str = "auto") -> Iterator[Cluster]:
    """Connect to a scheduler, or start a cluster on this machine for the block.

    Parameters
    ----------
    address : str
        For example ``tcp://host:8786``; or ``local``.
    device : str
        For a local one: whether its workers use GPUs, as `sfseg.system.devices.pick_devices`.

    Yields
    ------
    Cluster
        The cluster.

    Raises
    ------
    OptionError
        If it is not an address.
    MissingExtraError
        If `distributed` is not installed.
    ClusterError
        If there is no scheduler, or no local cluster can be started.
    """
    host_and_port = require_address(address)
    distributed = _import_distributed(address)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        target: Any = address
        if host_and_port is None:
            target = stack.enter_context(_start_local(distributed, device))
        try:
            if host_and_port is not None:  # a client that fails takes a minute to end
                _require_scheduler(host_and_port, greets=address.startswith("tcp:"))
            client = distributed.Client(target, timeout=CONNECT_S, set_as_default=False)
        except (OSError, OverflowError) as error:
            raise ClusterError(
                f"{address}: no Dask scheduler answers at this address",
                hint="start one with: dask scheduler; or use --dask local",
            ) from error
        stack.callback(_close, client)
        _let_ctrl_c_through()
        yield Cluster(str(client.scheduler.address), client)


def _close(client: Any) -> None:
    """Close a client; a scheduler that is gone does not answer."""
    with contextlib.suppress(Exception):
        client.close(timeout=CONNECT_S)


def _require_scheduler(host_and_port: tuple[str, int], *, greets: bool) -> None:
    """Raise OSError unless a scheduler is there; on a plain connection, it speaks first.

    Another server, as that of the dashboard, waits for a request; a client of Dask would wait, too.
    """
    with socket.create_connection(host_and_port, CONNECT_S) as connection:
        if greets and not connection.recv(1):  # within the same time
            raise ConnectionError(host_and_port)


def _let_ctrl_c_through() -> None:
    """Stop what `distributed` does after each garbage collection.

    A handler of signals runs at the first line of Python after it. In a callback that is, and
    Python drops what a callback raises: Ctrl-C would be lost.
    """
    with contextlib.suppress(ImportError):
        from distributed.gc import disable_gc_diagnosis

        stop: Callable[..., object] = disable_gc_diagnosis  # it has no annotations
        stop(force=True)


def _import_distributed(purpose: str) -> ModuleType:
    """Import `distributed`, which is an extra."""
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError.from_extra("dask", f"--dask {purpose}") from error
    return distributed


def _start_local(distributed: ModuleType, device: str) -> Any:
    """Start a worker for each GPU that is used, else for each processor."""
    import torch

    from sfseg.system.devices import pick_devices

    devices = pick_devices(device)
    if devices[0].type != "cuda":
        return distributed.LocalCluster(
            n_workers=usable_processors(),
            threads_per_worker=1,
            preload=[_DEAF],
            dashboard_address=_OWN_PORT,
            silence_logs=_SILENT,
        )
    visible = os.environ.get(_VISIBLE) or ",".join(map(str, range(torch.cuda.device_count())))
    gpus = [visible.split(",")[each.index or 0] for each in devices]
    options = {"nthreads": 1, "preload": [_DEAF], "silence_logs": _SILENT}
    workers = {
        gpu: {"cls": distributed.Nanny, "options": {**options, "env": {_VISIBLE: gpu}}}
        for gpu in gpus
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"host": "127.0.0.1", "dashboard_address": _OWN_PORT},
    }
    return distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=_SILENT)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let `distributed` log nothing here: what a person must know is an error of sfseg."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(_SILENT)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
