"""Run rows, each in a fork of this process, which has imported what all of them need.

Importing takes seconds, forking does not; and a row forks itself, which only a process of one
thread may. Reads lines ``NAME COUNT``, and answers each with the row as a line of JSON.
"""

import dataclasses
import importlib
import json
import os
import sys
import traceback

import tests.trust.small  # noqa: F401 - imports what the command does
from tests.trust.rows import Row


def run_in_fork(name: str, count: int) -> None:
    """Run a row with seed 0, and write it to stdout; an error is a broken promise, too."""
    if child := os.fork():
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            write(Row(name, 0, 1, failures=[f"the process ended with {code}"]))
        return
    try:
        row = importlib.import_module(f"tests.trust.{name}").run(count, 0)
    except BaseException:  # noqa: BLE001 - the process is to end here and nowhere else
        row = Row(name, 0, 1, failures=[traceback.format_exc()])
    write(row)
    os._exit(0)


def write(row: Row) -> None:
    """Write a row to stdout."""
    sys.stdout.write(f"{json.dumps(dataclasses.asdict(row))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for line in sys.stdin:
        row_name, row_count = line.split()
        run_in_fork(row_name, int(row_count))
