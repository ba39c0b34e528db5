"""Charts: where values lie, what the axes say, and that names stay text."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from sfseg.report.charts import Mark, Series, _number, chart

HOSTILE = '</svg><script>alert("1")</script>'


def draw(*series, **options):
    return str(chart(series, title="T", x_label="x", y_label="y", **options))


def test_a_chart_is_well_formed_and_names_are_text():
    line = Series(HOSTILE, [0, 1], [0, 1])
    found = draw(line, marks=[Mark(0.5, HOSTILE)])
    root = ElementTree.fromstring(found)
    assert root.tag == "figure"
    assert not [node for node in root.iter() if node.tag == "script"]
    assert HOSTILE in "".join(root.itertext())


def test_a_line_goes_through_its_values_and_has_a_gap_where_there_is_none():
    line = Series("a", [0, 1, 2, 3], [0, 1, np.nan, 0.5])
    path = re.search(r' d="([^"]+)"', draw(line, x_range=(0, 3), y_range=(0, 1)))[1]
    assert [len(part.split("L")) for part in path.split("M")[1:]] == [2, 1]
    assert path.startswith("M64 256L")  # left and low
    assert path.endswith("M468 134")  # right, half of the height


@pytest.mark.parametrize("values", [[1.0, 1.0], [np.nan, np.nan], [5]])
def test_values_that_span_nothing_have_an_axis(values):
    assert "<text" in draw(Series("a", range(len(values)), values))


def test_points_say_what_they_are():
    found = draw(Series("a", [0, 1], [1, 2], is_points=True, labels=["one", "two"]))
    assert re.findall(r"<circle.*?<title>(.*?)</title>", found) == ["one", "two"]


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [(0.5, 0.25, "0.50"), (0.2, 0.2, "0.2"), (3, 1, "3"), (0.98, 0.005, "0.980"), (20, 10, "20"),
     (2e6, 1e6, "2e+06")],
)  # fmt: skip
def test_ticks_have_as_many_digits_as_they_need(value, width, text):
    assert _number(value, width) == text
