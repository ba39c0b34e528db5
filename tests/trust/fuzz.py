"""Fuzz the readers, led by what code is reached; for as long as wanted.

It needs atheris, ``pip install atheris``. From the repository's root::

    python -m tests.trust.fuzz tiff -max_total_time=600
    python -m tests.trust.fuzz png

What is found is left in the current folder as ``crash-...``; give that file as the last argument to
see it again. Other arguments are those of libFuzzer.
"""

import importlib
import sys
import tempfile
import warnings
from pathlib import Path

from tests.trust import readers, tiffs

_LED_BY = ("sfseg.io", "sfseg.io.open", "tifffile")
"""Modules that tell where they have been; what is C does not."""

TARGETS = {"tiff": ".tif", "png": ".png", "jpg": ".jpg", "h5": ".h5"}


def seeds(target: str) -> list[bytes]:
    """List the good files to start from."""
    if target == "tiff":
        return [tiffs.sound(kind)[0] for kind in tiffs.KINDS]
    kinds = [kind for kind in readers.KINDS if kind.split(maxsplit=1)[0] == target]
    return [data for kind in kinds for data in readers.sound(kind).values()]


def read(target: str, data: bytes, path: Path) -> None:
    """Read a file right, or refuse it; all else is raised."""
    from sfseg.errors import OptionError, StackError
    from sfseg.io import open_stack

    path.write_bytes(data)
    source = f"{path}:/volumes/raw" if target == "h5" else path
    try:
        with open_stack(source) as stack:
            if stack.shape[0] * stack.shape[1] * stack.shape[2] > 2**24:
                return
            pixels = stack.read()
    except (StackError, OptionError):
        return
    if target == "tiff":
        tiffs.require_right(data, pixels)


def main() -> None:
    """Fuzz one target."""
    import atheris

    target = sys.argv[1] if len(sys.argv) > 1 else ""
    if target not in TARGETS:
        sys.exit(f"expected one of {', '.join(TARGETS)}, found {target!r}")
    warnings.simplefilter("error")
    for name in [name for name in sys.modules if name.startswith(_LED_BY)]:
        del sys.modules[name]
    with atheris.instrument_imports(include=list(_LED_BY)):
        importlib.import_module("sfseg.io.open")
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "corpus")
        corpus.mkdir()
        for number, data in enumerate(seeds(target)):
            (corpus / str(number)).write_bytes(data)
        path = Path(name, "a").with_suffix(TARGETS[target])
        atheris.Setup(
            [sys.argv[0], "-timeout=10", "-rss_limit_mb=2048", *sys.argv[2:], str(corpus)],
            lambda data: read(target, data, path),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
