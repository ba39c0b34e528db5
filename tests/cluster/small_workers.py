"""A cluster of two worker processes that know the small network, for a file of tests."""

import contextlib
import logging
from collections.abc import Iterator

import distributed
from distributed import WorkerPlugin

from sfseg.cluster.connect import Cluster


def dask_setup(_worker):
    """Let a worker find the small network; distributed calls this, see its option --preload."""
    from sfseg import models
    from tests.networks import Small

    models.ARCHITECTURES = {**models.ARCHITECTURES, "sfnet": Small, "small": Small}


class SmallPlugin(WorkerPlugin):
    """The same for all workers of a cluster, also for those that are started again."""

    name = "small"

    def setup(self, worker):
        dask_setup(worker)


@contextlib.contextmanager
def small_cluster(workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster of worker processes on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL + 1,
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        client.register_plugin(SmallPlugin())
        yield Cluster(client.scheduler.address, client)
