"""Outputs that must not replace an input."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from sfseg.errors import OutputExistsError
from sfseg.io.folders import container, list_files
from sfseg.system.files import check_output_path, temporary_paths
from sfseg.system.remote import RemotePath, as_location


def require_output(path: Path, sources: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse an output that exists, or that would replace an input.

    Parameters
    ----------
    path : Path
        The output.
    sources : iterable of str or Path
        The inputs; as for `sfseg.open_stack`.
    overwrite : bool
        Whether an output that exists is replaced; an input never is.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False; and as `refuse_inputs`.
    OutputError
        If its name is too long.
    StackError
        If an input matches no file.
    """
    refuse_inputs(path, list_entries(sources), lambda entry: [entry, *temporary_paths(entry)])
    check_output_path(path, overwrite=overwrite)


def refuse_inputs(
    output: Path, inputs: set[Path], touched: Callable[[Path], Iterable[Path]]
) -> None:
    """Refuse an output that, or whose temporary files, would overwrite or remove an input.

    Parameters
    ----------
    output : Path
        The output.
    inputs : set of Path
        Of `list_entries`.
    touched : callable
        Lists an output and the paths beside it that are written or removed.

    Raises
    ------
    OutputExistsError
        If one of them is an input, or a folder with one in it.
    """
    entry, target = _entries(output)
    if taken := inputs.intersection([target, *touched(entry)]):
        raise OutputExistsError(
            f"{output}: this would overwrite {min(taken)}, which is an input or has one in it",
            hint="choose another name; inputs are never overwritten",
        )


def list_entries(sources: Iterable[str | Path]) -> set[Path]:
    """List the files of inputs, and all folders that they are in; raises StackError."""
    files = [container(path) for source in sources for path in list_files(source)]
    inputs = {entry for path in files for entry in _entries(path)}
    return inputs | {folder for entry in inputs for folder in entry.parents}


def _entries(path: Path) -> tuple[Path, Path]:
    """Return two paths of a file: of its name, which may be a link, and of the link's target.

    Unlike `Path.resolve`, this also works for links that form a circle.
    """
    if isinstance(location := as_location(path), RemotePath):
        return location, location
    return Path(os.path.realpath(path.parent)) / path.name, Path(os.path.realpath(path))
