"""Two processes that train together, as torchrun starts them, without the time that it takes.

They are forked from one that has imported what they need; see `tests.forks`.
"""

import os
import runpy
import socket
import sys


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


def run_rank(rank: int, script: str) -> None:
    """Run the script as one of the two, and end the process."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001 - the process is to end here and nowhere else
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_two(script: str, *arguments: object) -> None:
    """Run a script in two children, and end this process with 0 if both do."""
    sys.argv = [script, *map(str, arguments)]
    os.environ |= {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "1",
    }
    children = []
    for rank in range(2):
        children.append(os.fork())
        if not children[-1]:
            run_rank(rank, script)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(any(codes))
