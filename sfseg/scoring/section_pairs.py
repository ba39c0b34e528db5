"""Find out which sections of two files belong together."""

from collections.abc import Mapping, Sequence

from sfseg.errors import OptionError, ShapeMismatchError
from sfseg.io import Stack
from sfseg.io.numbering import list_numbers, pair_numbers
from sfseg.scoring.score import require_same_shape
from sfseg.types import format_sections, parse_sections


def pair_sections(
    maps: Stack, labels: Stack, sections: str | None
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Find the labels of each section to score: their indices, and what to say about it."""
    notes = [f"{stack.name}: {note}" for stack in (maps, labels) for note in stack.notes]
    _require_same_size(maps, labels)
    wanted = None if sections is None else parse_sections(sections, len(maps))
    pairs = pair_numbers(maps.numbers, labels.numbers)
    if pairs is None:
        if wanted is not None and len(labels) == len(wanted) < len(maps):
            notes.append(
                f"{labels.name}: its sections are those of --sections {sections}, in order"
            )
            return dict(zip(wanted, range(len(labels)), strict=True)), tuple(notes)
        _require_as_many(maps, labels)
        if maps.numbers and labels.numbers and maps.numbers != labels.numbers:
            notes.append(f"{labels.name}: its numbers are not those of {maps.name}: both in order")
        return {index: index for index in wanted or range(len(maps))}, tuple(notes)
    partners = dict(pairs)
    if wanted is not None:
        _require_partners(wanted, partners, labels.name)
        return {index: partners[index] for index in wanted}, tuple(notes)
    for stack, side in ((maps, 0), (labels, 1)):
        paired = {pair[side] for pair in pairs}
        alone = [n for index, n in enumerate(stack.numbers or ()) if index not in paired]
        if alone:
            notes.append(
                f"{stack.name}: left out, as the other side has no such number: "
                f"{list_numbers(alone)}"
            )
    return partners, tuple(notes)


def _require_same_size(maps: Stack, labels: Stack) -> None:
    """Refuse sections of another size, whatever their number."""
    if maps.shape[1:] != labels.shape[1:]:
        require_same_shape(maps.shape, labels.shape, (maps.name, labels.name))


def _require_as_many(maps: Stack, labels: Stack) -> None:
    """Refuse labels of fewer or more sections where nothing says which belong together."""
    if len(labels) < len(maps):
        raise ShapeMismatchError(
            f"{maps.name}: the shape {maps.shape} does not match {labels.name}, {labels.shape}",
            hint=f"say with --sections which {len(labels)} of the {len(maps)} sections the labels "
            "belong to, in order",
        )
    require_same_shape(maps.shape, labels.shape, (maps.name, labels.name))


def _require_partners(indices: Sequence[int], partners: Mapping[int, int], truth: str) -> None:
    """Refuse sections that have no labels."""
    if alone := [index for index in indices if index not in partners]:
        raise OptionError(
            f"sections {format_sections(alone)}: they have no labels in {truth}",
            hint=f"--sections {format_sections(tuple(partners))}",
        )
