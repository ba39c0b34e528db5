"""Which sections train and which are held out, where there may be several stacks."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from math import ceil

from sfseg.config import TrainConfig
from sfseg.errors import OptionError
from sfseg.types import parse_sections


def split_sections(
    config: TrainConfig, counts: Sequence[int], standard: Sequence[str | None]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose which sections train and which are held out for validation.

    Parameters
    ----------
    config : TrainConfig
        Whose ``sections``, ``validation`` and recipe decide.
    counts : sequence of int
        Sections of each stack.
    standard : sequence of str or None
        Which sections of each stack, numbered from 1 in it, to divide where the configuration
        names none; None = all.

    Returns
    -------
    training, validation : tuple of int
        Indices from 0 through all stacks, no index in both.

    Raises
    ------
    OptionError
        If a section is named that is not there, or nothing is left to train on.

    Notes
    -----
    The held-out share is one block at the start of each stack: neighbouring sections look alike,
    so scattered ones would judge a network by what it has all but seen. Of single images, which
    are stacks of one section, it is the first ones.
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
            f"validation {config.validation}: expected some sections left to train on, found none",
            hint="hold fewer sections out, or name more with --sections",
        )
    return training, held


def _choose(
    config: TrainConfig, counts: Sequence[int], standard: Sequence[str | None]
) -> list[tuple[int, ...]]:
    """Choose the sections of each stack that are trained on or held out, numbered through."""
    if config.sections:
        named = parse_sections(config.sections, sum(counts))
        return [tuple(i for i in named if i in whole) for whole in number_through(counts)]
    return [pick(whole, text) for whole, text in zip(number_through(counts), standard, strict=True)]


def pick(whole: range, text: str | None) -> tuple[int, ...]:
    """Pick the sections of one stack that a text names, numbered from 1 in it; None = all."""
    return tuple(whole[i] for i in parse_sections(text, len(whole))) if text else tuple(whole)


def number_through(counts: Sequence[int]) -> Iterator[range]:
    """Give the indices of the sections of each stack, numbered through from 0."""
    return (range(*ends) for ends in pairwise([0, *accumulate(counts)]))
