"""Predict a large stack on workers that SLURM starts, with Dask.

    pip install dask-jobqueue
    python dask_cluster.py big.zarr map.zarr --multiscale --dtype uint8

Run it where it may stay as long as the work takes: in tmux on a login node, or in a job of one
core. Workers come and go as the queue allows, up to 100, or to the number in the variable WORKERS.
The same command again continues what was stopped.
"""

import os
import subprocess
import sys

from dask_jobqueue import SLURMCluster

WORKERS = int(os.environ.get("WORKERS", "100"))


def main() -> int:
    """Start the workers, and predict on them with the options of the command line."""
    source, out, *options = sys.argv[1:]
    cluster = SLURMCluster(
        cores=8,
        processes=1,
        memory="32GB",
        walltime="04:00:00",
        job_extra_directives=["--gpus=1", "--output=sfseg-%j.log"],
        # Each worker ends by itself before its time limit, not all at once; others take its place.
        worker_extra_args=["--lifetime", "230m", "--lifetime-stagger", "5m"],
    )
    with cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=WORKERS)
        command = ["sfseg", "predict", source, "-o", out, *options, "--resume"]
        command += ["--dask", cluster.scheduler_address]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
