"""How the tests use the cores: a worker of pytest-xdist for each, with one thread.

Before NumPy and PyTorch are imported, which start their pools then; the workers and the processes
that tests start inherit it.
"""

import importlib.util
import os

# Modules that the search for doctests would import; they have none.
collect_ignore = [  # of napari, whose import warns
    f"sfseg/napari_plugin/{name}.py"
    for name in ("cells_widget", "fields", "panel", "score_widget", "widgets")
]
if importlib.util.find_spec("triton") is None:
    collect_ignore.append("sfseg/prediction/engines/kernels.py")

collect_ignore_glob = ["tests/*conftest.py"]  # as modules with doctests: they all share one name

for _pool in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ.setdefault(f"{_pool}_NUM_THREADS", "1")


def pytest_addoption(parser, pluginmanager):
    """Take the options of `addopts` also without pytest-xdist, and do nothing about them."""
    if not pluginmanager.has_plugin("xdist"):
        for name in ("--numprocesses", "--maxprocesses", "--dist"):
            parser.addoption(name)
        parser.addoption("--no-loadscope-reorder", action="store_true")


def pytest_collection_modifyitems(items):
    """Start with the slow tests, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
