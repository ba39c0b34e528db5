"""Choose the sections to train on and those to hold out, of one stack or several."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from math import ceil

from sfseg.config import TrainConfig
from sfseg.errors import OptionError
from sfseg.types import parse_sections


def split_sections(
    config: TrainConfig, counts: Sequence[int], standard: Sequence[str | None]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose the sections to train on and those to hold out for validation.

    Parameters
    ----------
    config : TrainConfig
        Its ``sections``, ``validation`` and recipe decide.
    counts : sequence of int
        Number of sections of each stack.
    standard : sequence of str or None
        The sections of each stack, numbered from 1 in it, that are used if the configuration names
        none; None = all.

    Returns
    -------
    training, validation : tuple of int
        Indices from 0 through all stacks, no index in both.

    Raises
    ------
    OptionError
        If a named section does not exist, or nothing is left to train on.

    Notes
    -----
    The held-out share is one block at the start of each stack. Neighbouring sections look alike,
    so the scores of scattered ones would be too high. Single images are stacks of one section: the
    first ones are held out.
    """
    chosen = _choose(config, counts, standard)
    everything = tuple(chain.from_iterable(chosen))
    if config.validation == "none":
        return everything, ()
    if config.validation is not None:
        held = parse_sections(config.validation, sum(counts))
    else:
        share = config.recipe.validation_share
        blocks = chosen if max(counts) > 1 else [everything]
        held = tuple(
            index
            for block in blocks
            if len(block) > 1
            for index in block[: ceil(share * len(block))]
        )
    training = tuple(sorted(set(everything).difference(held)))
    if not training:
        raise OptionError(
            "validation: no section is left to train on",
            hint="hold out fewer sections with --validation, or name more with --sections",
        )
    return training, held


def _choose(
    config: TrainConfig, counts: Sequence[int], standard: Sequence[str | None]
) -> list[tuple[int, ...]]:
    """Choose the sections of each stack that are trained on or held out, as indices from 0."""
    if config.sections:
        named = parse_sections(config.sections, sum(counts))
        return [tuple(i for i in named if i in whole) for whole in number_through(counts)]
    return [pick(whole, text) for whole, text in zip(number_through(counts), standard, strict=True)]


def pick(whole: range, text: str | None) -> tuple[int, ...]:
    """Return the indices of the sections of one stack that a text names, from 1; None = all."""
    return tuple(whole[i] for i in parse_sections(text, len(whole))) if text else tuple(whole)


def number_through(counts: Sequence[int]) -> Iterator[range]:
    """Yield the indices of the sections of each stack, counted from 0 through all stacks."""
    return (range(*ends) for ends in pairwise([0, *accumulate(counts)]))
