"""What can be refused before torch is imported, which takes seconds: wrong names and paths."""

import re
from collections.abc import Iterable
from pathlib import Path

from sfseg import models
from sfseg.errors import OptionError, OutputExistsError, StackError
from sfseg.models.weights_files import find_weights
from sfseg.system import files


def require_architectures(names: Iterable[str]) -> None:
    """Refuse a name that is none of an architecture; raises UnknownNameError."""
    for name in names:
        models.require(name)


def require_device_name(name: str, *, several: bool = False) -> None:
    """Refuse what cannot be the name of a device, or of several; raises OptionError."""
    numbers = "[0-9]+(,[0-9]+)*" if several else "[0-9]+"
    if re.fullmatch(rf"auto|cpu|mps|cuda(:{numbers})?", name):
        return
    hint = "--device auto takes the best device of this machine"
    if re.fullmatch(r"(cuda:)?[0-9]+(,(cuda:)?[0-9]+)+", name):
        meant = f"cuda:{name.replace('cuda:', '')}"
        hint = f"--device {meant}" if several else "only predict takes several devices"
    raise OptionError(
        f"--device: must be auto, cpu, mps, cuda, cuda:N{' or a list like cuda:0,1' * several}, "
        f"not {name!r}",
        hint=hint,
    )


def require_weights(names: Iterable[str]) -> None:
    """Refuse weights that are not there; raises UnknownNameError or CheckpointError."""
    for name in names:
        find_weights(name)


def require_inputs(sources: Iterable[str]) -> None:
    """Refuse stacks that are not there.

    Raises
    ------
    StackError
        If a source matches no file.
    OSError
        If there is no such file.
    """
    from sfseg import io

    for source in sources:
        (first, *others) = io.list_files(source)
        if not others and not io.container(first).exists():
            io.open_stack(source).close()  # which says what is wrong


def require_stack_name(option: str, path: Path, dtype: str) -> None:
    """Refuse an output whose name means no format for pixels of a type.

    Raises
    ------
    OptionError
        If it has another ending.
    MissingExtraError
        If zarr is needed and not installed.
    """
    from sfseg.io import require_writable

    try:
        require_writable(str(path), dtype)
    except StackError as error:
        hint = f"name it {path.with_suffix('.tif')}"
        raise OptionError(f"{option}: {error.message}", hint=hint) from error


def require_dataset(name: str) -> None:
    """Refuse a name that is none of a dataset; raises UnknownNameError."""
    from sfseg.datasets.registry import find

    find(name)


def require_data_dir(folder: Path | None) -> None:
    """Refuse a folder of datasets that is not there.

    Raises
    ------
    OptionError
        If there is no such folder.
    OutputExistsError
        If it is a file.
    """
    if folder is None:
        return
    refuse_file_as_data_dir(folder)
    if not folder.exists():
        raise OptionError(
            f"--data-dir: there is no folder {folder}",
            hint=f"correct the name, or fetch into it: sfseg fetch NAME --data-dir {folder}",
        )


def require_parent_of_data_dir(folder: Path | None) -> None:
    """Refuse a new folder of datasets in a folder that is not there, which is often a slip.

    Raises
    ------
    OptionError
        If the folder above is not there.
    OutputExistsError
        If it is a file.
    """
    if folder is None:
        return
    refuse_file_as_data_dir(folder)
    if not folder.absolute().parent.exists():
        raise OptionError(
            f"--data-dir: there is no folder {folder.parent} to make {folder.name} in",
            hint=f"correct the name, or make it: mkdir -p {folder.parent}",
        )


def refuse_file_as_data_dir(folder: Path) -> None:
    """Refuse a file where the folder of datasets should be; raises OutputExistsError."""
    with files.explain_errors(folder):
        is_file = folder.is_file()
    if is_file:
        raise OutputExistsError(
            f"--data-dir: {folder} is a file, not a folder", hint="name a folder"
        )
