"""Run the full counts: ``python -m tests.trust [ROW ...] [--count N] [--seed S]``."""

import argparse
import importlib
import sys

ROWS = {
    "hosts": 0,  # at least 10
    "fetches": 200,
    "crowds": 8,
    "archives": 0,  # at least 25
    "weights": 0,  # at least 20
    "trainings": 50,
    "signals": 20,
    "predictions": 200,
    "clusters": 50,
    "formats": 0,
    "tiffs": 10_000,
    "readers": 2_000,
    "disks": 0,
    "folders": 0,
}
"""The modules of this folder, each with ``run(count, seed) -> Row``, and the counts promised.

0 stands for every case there is.
"""


def main() -> int:
    """Run the rows that are asked for, or all; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    broken = 0
    for name in options.rows or ROWS:
        count = ROWS[name] if options.count is None else options.count
        row = importlib.import_module(f"tests.trust.{name}").run(count, options.seed)
        sys.stdout.write(f"{row}\n")
        sys.stdout.writelines(f"  {failure}\n" for failure in row.failures)
        sys.stdout.flush()
        broken += row.held < row.tried
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
