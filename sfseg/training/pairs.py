"""Match labels to images: by name, or in order if no names match.

A folder or pattern stands for its files, each of them a stack or a section. Anything else is one
stack.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sfseg import io
from sfseg.datasets.dataset import LabelledStack
from sfseg.errors import OptionError
from sfseg.io.numbering import composed, pair_numbers, section_numbers
from sfseg.system.remote import as_location
from sfseg.types import Say

_ROLES = frozenset(
    (
        *("label", "labels", "seg", "segmentation", "segmentations", "mask", "masks"),
        *("gt", "truth", "ground", "groundtruth", "annotation", "annotations"),
        *("membrane", "membranes", "image", "images", "img", "im", "raw", "em"),
        *("volume", "vol", "data"),
    )
)
"""Words that distinguish images from labels, not one stack from another."""

_MOST_NAMED = 5

Key = Callable[[Path], str]
Group = tuple[list[Path], list[Path]]
"""Images and labels of one name; there should be one of each."""


def pair_files(images: str, labels: str, *, say: Say = lambda _: None) -> tuple[LabelledStack, ...]:
    """Find the labels of each stack.

    Parameters
    ----------
    images, labels : str
        Two folders or patterns of files, to be matched. If either is a single source, as for
        `sfseg.io.open.open_stack`, both are one stack, whatever their names.
    say : callable
        Called with a warning if files are paired in order, and with the images without labels.

    Returns
    -------
    tuple of LabelledStack
        At least one; in the order of the images, 2 before 10. Images without labels are left out.

    Raises
    ------
    OptionError
        If labels have no image, a file has more than one partner, or is both image and labels.
    StackError
        If a folder has no file, or a pattern matches none.

    Notes
    -----
    The first of these rules that pairs the most files is used. Case and leading zeros of numbers
    do not count. Rules 2 to 4 ignore words such as *image*, *labels*, *seg*, *gt*:

    1. equal stems: ``a.tif`` and ``a.png``;
    2. equal without those words: ``raw_01.tif`` and ``01-labels.tif``;
    3. the stem of the labels is that of the image with a prefix or suffix: ``a``, ``a_by_anna``;
    4. the other way round;
    5. equal numbers of sections: ``slice_7``, ``z7``.

    If no rule pairs any, and there are as many images as labels, they are paired in order.
    """
    if not (_is_many(images) and _is_many(labels)):
        return (LabelledStack(images, labels),)
    ours, theirs = io.list_files(images), io.list_files(labels)
    both = sorted(set(ours) & set(theirs))
    if both:
        raise OptionError(
            f"{labels}: these files are images and labels at once: {_names(both)}",
            hint="use two patterns: --images 'FOLDER/*_image.tif' --labels 'FOLDER/*_labels.tif'",
        )
    groups = _match(ours, theirs)
    if not groups and len(ours) == len(theirs):
        groups = [([image], [label]) for image, label in zip(ours, theirs, strict=True)]
        if len(groups) > 1:
            say("warning: the names do not match: images and labels are paired in order")
    matched = {image for images_of_name, _ in groups for image in images_of_name}
    if groups and (alone := [image for image in ours if image not in matched]):
        say(f"left out, because they have no labels: {_names(alone)}")
        ours = [image for image in ours if image in matched]
    _refuse_unmatched(ours, theirs, groups)
    return tuple(LabelledStack(str(image), str(label)) for (image,), (label,) in groups)


def _is_many(source: str) -> bool:
    """Whether a source is a folder or a pattern, even of one file."""
    return io.list_files(source) != [as_location(source)]


def _match(images: Sequence[Path], labels: Sequence[Path]) -> list[Group]:
    """Group images and labels of one name, by the rule that matches the most names."""
    best: list[Group] = []
    for of_image, of_label in _rules(images, labels):
        ours, theirs = _by_key(images, of_image), _by_key(labels, of_label)
        groups = [(ours[key], theirs[key]) for key in ours if key in theirs]
        if len(groups) > len(best):
            best = groups
    return best


def _by_key(paths: Sequence[Path], key: Key) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    for path in paths:
        grouped.setdefault(key(path), []).append(path)
    return grouped


def _rules(images: Sequence[Path], labels: Sequence[Path]) -> Iterator[tuple[Key, Key]]:
    """Yield the rules in order: two functions, whose values for an image and its labels agree."""
    yield (lambda path: composed(path.stem)), (lambda path: composed(path.stem))
    yield _core, _core
    before, after = _affixes(images, labels)
    yield (lambda path: f"{before}{_core(path)}{after}"), _core
    start, end = _affixes(labels, images)
    yield _core, (lambda path: f"{start}{_core(path)}{end}")
    pairs = pair_numbers(section_numbers(images), section_numbers(labels))
    ours = {images[one]: str(labels[other]) for one, other in pairs or ()}
    yield (lambda path: ours.get(path, "")), str


def _core(path: Path) -> str:
    """Reduce a stem to the words and numbers that distinguish one stack from another."""
    parts = re.findall(r"[^\W\d_]+|\d+", composed(path.stem).casefold())
    return "_".join(str(int(p)) if p.isdecimal() else p for p in parts if p not in _ROLES)


def _affixes(shorter: Sequence[Path], longer: Sequence[Path]) -> tuple[str, str]:
    """Find what most often stands before and after a short name in a long one."""
    found: Counter[tuple[str, str]] = Counter()
    names = [_core(path) for path in longer]
    for core in filter(None, map(_core, shorter)):
        whole = re.compile(rf"(?<!\d){re.escape(core)}(?!\d)")  # no 1 in 10
        found.update(
            (name[: at.start()], name[at.end() :]) for name in names for at in whole.finditer(name)
        )
    return found.most_common(1)[0][0] if found else ("", "")


def _refuse_unmatched(
    images: Sequence[Path], labels: Sequence[Path], groups: Sequence[Group]
) -> None:
    """Refuse files without a partner, and files with more than one."""
    for files, side, partner in ((images, 0, "labels"), (labels, 1, "image")):
        if alone := set(files).difference(*(group[side] for group in groups)):
            raise OptionError(
                f"{_names([path for path in files if path in alone])}: no {partner} of that name",
                hint="rename them like a.tif and a_labels.tif, or leave them out with a pattern",
            )
    for ours, theirs in groups:
        if len(ours) > 1 or len(theirs) > 1:
            raise OptionError(
                f"{_names(ours)}: needs one image and one file of labels of that name, "
                f"not {len(ours)} and {len(theirs)}: {_names([*ours, *theirs])}",
                hint="leave the others out with a pattern, like 'FOLDER/*_labels.tif'",
            )


def _names(paths: Sequence[Path]) -> str:
    """Name files, the first few of many."""
    named = ", ".join(str(path) for path in paths[:_MOST_NAMED])
    more = len(paths) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named
