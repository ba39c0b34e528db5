"""The border-thinning flood: equal to a plain reading of its definition, and what must hold."""

import importlib
import sys
from collections import deque

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label

from sfseg.scoring import thinning
from sfseg.scoring.thinning import thin_borders

sections = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1))  # left, up, right, down as (x, y)


class Reference:
    """Step 3 of the definition, word by word and slowly; keys are (x, y)."""

    def __init__(self, interior):
        rows, columns = interior.shape
        self.pixels = [(x, y) for x in range(columns) for y in range(rows)]
        self.interior = {(x, y): bool(interior[y, x]) for x, y in self.pixels}
        self.labels = {}
        self.count = 0

    def around(self, pixel):
        candidates = [(pixel[0] + dx, pixel[1] + dy) for dx, dy in NEIGHBOURS]
        return [other for other in candidates if other in self.interior]

    def fill(self, kind):
        for seed in self.pixels:
            if self.interior[seed] is kind and seed not in self.labels:
                self.count += 1
                stack = [seed]
                self.labels[seed] = self.count
                while stack:
                    for other in self.around(stack.pop()):
                        if self.interior[other] is kind and other not in self.labels:
                            self.labels[other] = self.count
                            stack.append(other)

    def flood(self):
        queue = deque(
            pixel
            for pixel in self.pixels
            if pixel not in self.labels
            and any(other in self.labels for other in self.around(pixel))
        )
        queued = set(queue)
        permission = False
        while queue:
            pixel = queue.popleft()
            for other in self.around(pixel):
                own, theirs = self.labels.get(pixel), self.labels.get(other)
                if theirs is not None and theirs > 0:
                    if own is None or (own == 0 and permission):
                        self.labels[pixel] = theirs
                    elif own not in (0, theirs):
                        self.labels[pixel] = 0
                        permission = False
                elif theirs == 0:
                    if own is None:
                        self.labels[pixel] = 0
                        permission = True
                elif other not in queued:
                    queued.add(other)
                    queue.append(other)

    def result(self):
        self.fill(True)
        self.flood()
        self.fill(False)
        columns, rows = np.max(self.pixels, axis=0) + 1
        return np.array([[self.labels[x, y] for x in range(columns)] for y in range(rows)])


@given(sections)
@settings(max_examples=300, deadline=None)
def test_the_kernel_gives_what_the_definition_says_pixel_by_pixel(interior):
    np.testing.assert_array_equal(thin_borders(interior), Reference(interior).result())


@given(sections)
@settings(deadline=None)
def test_every_interior_component_keeps_a_label_of_its_own(interior):
    segments = thin_borders(interior)
    components, count = label(interior, connectivity=1, return_num=True)
    pairs = np.unique(np.stack([components[interior], segments[interior]]), axis=1)
    assert pairs.shape[1] == count == np.unique(segments[interior]).size
    assert segments.max() == max(count, 1)


@given(sections)
@settings(deadline=None)
def test_dams_lie_on_the_border_and_part_all_segments(interior):
    segments = thin_borders(interior)
    assert not np.any((segments == 0) & interior)
    for one, other in ((segments[1:], segments[:-1]), (segments[:, 1:], segments[:, :-1])):
        assert not np.any((one != other) & (one > 0) & (other > 0))


@given(sections)
@settings(deadline=None)
def test_segments_are_connected_and_numbered_in_scan_order_with_x_outer(interior):
    segments = thin_borders(interior)
    for number in range(1, segments.max() + 1):
        assert label(segments == number, connectivity=1).max() == 1
    components = np.where(interior, segments, 0).T.ravel()
    firsts = [np.argmax(components == number) for number in range(1, components.max() + 1)]
    assert firsts == sorted(firsts)


def test_a_checkerboard_has_as_many_components_as_fit():
    interior = np.indices((7, 9)).sum(0) % 2 == 0
    assert thin_borders(interior).max() == 32


def test_a_section_without_interior_is_one_segment():
    np.testing.assert_array_equal(thin_borders(np.zeros((3, 4), bool)), np.ones((3, 4)))


def test_scan_order_decides_ties_so_a_transposed_section_need_not_give_transposed_segments():
    rng = np.random.default_rng(0)
    interiors = [rng.random((9, 9)) < 0.2 for _ in range(100)]
    assert any(np.any((thin_borders(i.T).T == 0) != (thin_borders(i) == 0)) for i in interiors)


def test_the_kernels_compile_where_no_folder_can_hold_a_cache(monkeypatch):
    plain = numba.njit

    def njit(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert thinning.compiled(lambda number: number + 1)(1) == 2


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_thinner_used_again_forgets_the_threshold_before(data):
    levels = data.draw(arrays(np.uint8, (6, 7), elements=st.integers(0, 3)))
    thinner = thinning.Thinner(levels)
    for threshold in data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=4)):
        thinner.thinned(threshold)
        np.testing.assert_array_equal(thinner.section(), thin_borders(levels > threshold))


@pytest.mark.parametrize("name", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_cache_of_kernels_is_made_again(tmp_path, name, damage):
    module = tmp_path / "kernels.py"
    module.write_text(
        "from sfseg.scoring.thinning import compiled\n"
        "@compiled\n"
        "def plus_one(number):\n"
        "    return number + 1\n"
    )
    before = sys.path[:]
    sys.path.insert(0, str(tmp_path))
    try:
        for _ in range(2):  # the cache is made, then read after the damage
            sys.modules.pop("kernels", None)
            assert importlib.import_module("kernels").plus_one(1) == 2
            (file,) = tmp_path.rglob(name)
            sound = file.read_bytes()
            file.write_bytes(damage)
        sys.modules.pop("kernels")
        assert importlib.import_module("kernels").plus_one(1) == 2
    finally:
        sys.path[:] = before
        sys.modules.pop("kernels", None)
    (file,) = tmp_path.rglob(name)
    assert len(file.read_bytes()) == len(sound)
