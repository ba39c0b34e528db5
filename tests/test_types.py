"""Lists of sections, as a person writes them, and numbers of things, as a person reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfseg.errors import OptionError
from sfseg.types import format_count, format_sections, name_sections, parse_sections


@given(st.sets(st.integers(0, 40), min_size=1))
def test_parsing_undoes_formatting(indices):
    assert parse_sections(format_sections(tuple(indices)), count=41) == tuple(sorted(indices))


@pytest.mark.parametrize("text", ["", "a", "1-", "-3", "0", "31", "5-3", "1,,2", "1-31", "1.5"])
def test_what_names_no_sections_of_the_stack_is_refused(text):
    with pytest.raises(OptionError, match="sections"):
        parse_sections(text, count=30)


def test_one_thing_is_not_called_many():
    assert [format_count(n, "superpixel") for n in (0, 1, 2)] == [
        "0 superpixels",
        "1 superpixel",
        "2 superpixels",
    ]
    assert (name_sections([2]), name_sections([0, 1, 4])) == ("section 3", "sections 1-2,5")
