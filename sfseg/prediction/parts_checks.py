"""What can be refused before parts of an output are made; see `parts`."""

from pathlib import Path

from sfseg.config import PredictConfig
from sfseg.errors import OptionError
from sfseg.system.remote import is_remote
from sfseg.types import format_sections, parse_sections

_LONGEST_NAME = 200
"""Bytes of the sections in the name of a file, to which suffixes are added."""


def require_parts(output: Path, config: PredictConfig) -> None:
    """Refuse an output that cannot be made in parts.

    Raises
    ------
    OptionError
        If it is no OME-Zarr on a disk; if its numbers go on from section to section; if planes of
        all sections are predicted; or if both ``sections`` and ``finish`` are set.
    """
    option = "--finish" if config.finish else "--sections"
    if config.finish and config.sections is not None:
        raise OptionError(
            "--finish: it is for all sections, after the last part",
            hint="leave --sections out, or make this part first, without --finish",
        )
    if is_remote(output):
        raise OptionError(
            f"{option}: parts are made on a file system that all processes share, not in a bucket",
            hint="write them there, then copy the output; or write to the bucket in one run",
        )
    if output.suffix.lower() != ".zarr":
        raise OptionError(
            f"{option}: only a .zarr can be made in parts, not {output.name}",
            hint=f"-o {output.with_suffix('.zarr')}",
        )
    if config.planes:
        raise OptionError(
            f"{option}: it does not work with --planes, whose planes have pixels of all sections",
            hint="make the map in one run, without --sections and --finish; or leave out --planes",
        )
    if config.output in ("segments", "cells"):
        raise OptionError(
            f"{option}: it does not work with --output {config.output}, whose numbers go on from "
            "section to section",
            hint="make the map in parts, without --output; then sfseg segment finds its cells",
        )


def as_name(text: str, count: int) -> str:
    """Write a list of sections as the name of a part.

    Raises
    ------
    OptionError
        If the list makes no sense, or is too long for the name of a file.
    """
    name = format_sections(parse_sections(text, count))
    if len(name) > _LONGEST_NAME:
        raise OptionError(
            f"--sections: {len(name)} letters are too many for the name of a file",
            hint="name ranges of sections, as in 1-500, and make the others in another part",
        )
    return name
