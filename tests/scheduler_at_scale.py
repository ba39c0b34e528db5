"""Drives the scheduler of Dask with many blocks of no work, to see how many it can serve.

Run it by hand, ``python -m tests.scheduler_at_scale --blocks 100000``; it prints lines of JSON. The
scheduler and the workers are processes of their own, on this machine. A block sleeps, so one
processor can play hundreds of workers. What counts is the time of the processor that the scheduler
and the client need for a block: no cluster is faster than one block in that time.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil

from sfseg.cluster.connect import Cluster
from sfseg.cluster.feed import Call, Failed, Feed

STARTS_S = 300
REPORT = 10_000
"""Blocks between two lines."""


def block(number: int, seconds: float, failing: float, dying: float) -> tuple[int, bytes] | Failed:
    """Stand for a block: sleep for about so long; sometimes fail, or let the worker die."""
    draw = random.Random(f"{number} {time.monotonic()}")  # another try is another draw
    time.sleep(draw.uniform(0.5, 1.5) * seconds)
    if draw.random() < dying:
        os.kill(os.getpid(), signal.SIGKILL)
    if draw.random() < failing:
        return Failed("no luck", distributed.get_worker().address)
    return number, bytes(200)  # about the facts of its tiles


@contextlib.contextmanager
def cluster(workers: int, threads: int) -> Iterator[tuple[Cluster, psutil.Process]]:
    """Start a scheduler and workers, each a process; yield a client and the scheduler."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "scheduler.json"

        def start(program: str, *options: object) -> subprocess.Popen[bytes]:
            module = f"distributed.cli.dask_{program}"
            command = [sys.executable, "-m", module, "--no-dashboard", *map(str, options)]
            child = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder)
            stack.callback(child.wait)
            stack.callback(child.terminate)
            return child

        own = ("--host", "127.0.0.1", "--port", 0)
        scheduler = start("scheduler", *own, "--scheduler-file", file)
        for _ in range(workers):
            start("worker", "--scheduler-file", file, "--nthreads", threads, "--nworkers", 1)
        client = distributed.Client(scheduler_file=str(file), timeout=STARTS_S)
        stack.callback(client.close)
        client.wait_for_workers(workers, timeout=STARTS_S)
        yield Cluster(str(client.scheduler.address), client), psutil.Process(scheduler.pid)


def cpu_s(process: psutil.Process) -> float:
    """Return the seconds of the processor that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the blocks; yield what they took so far, a few times and at the end."""
    with cluster(given.workers, given.threads) as (connected, scheduler):
        own = psutil.Process()
        feed = Feed(connected, print)
        chances = (given.seconds, given.failing, given.dying)
        list(feed.run(Call(block, (n, 0.0, 0.0, 0.0), n) for n in range(given.threads)))  # warm
        processes = {"scheduler": scheduler, "client": own}
        before = {name: (cpu_s(each), each.memory_info().rss) for name, each in processes.items()}
        began, done, lost = time.monotonic(), set(), 0
        for call, result in feed.run(Call(block, (n, *chances), n) for n in range(given.blocks)):
            if isinstance(result, Failed):
                lost += 1
                sys.stderr.write(f"block {call.tag}: {result.reason}\n" * (lost < 10))
            else:
                done.add(call.tag)
            if (ended := len(done) + lost) % REPORT == 0 or ended == given.blocks:
                wall = time.monotonic() - began
                facts = {"done": len(done), "given_up": lost, "blocks_per_s": ended / wall}
                for name, each in processes.items():
                    facts[f"{name}_ms_a_block"] = 1000 * (cpu_s(each) - before[name][0]) / ended
                    facts[f"{name}_grown_mib"] = (each.memory_info().rss - before[name][1]) / 2**20
                yield {name: round(fact, 3) for name, fact in facts.items()}


def main() -> None:
    """Measure once, as the options say; print the facts now and then, and at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=100, help="of each; each plays a worker")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a block, on average")
    parser.add_argument("--failing", type=float, default=0.0, help="share of tries that fail")
    parser.add_argument("--dying", type=float, default=0.0, help="share that end their worker")
    for facts in measure(parser.parse_args()):
        sys.stdout.write(f"{json.dumps(facts)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
