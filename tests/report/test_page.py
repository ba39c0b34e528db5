"""Pages: they are one file, and say to the browser what it may run."""

import re

import pytest
from jinja2 import UndefinedError

from sfseg.report.page import hash_asset, render, write_page

GIVEN = {"version": "1", "date": "today"}


def test_a_page_allows_its_own_style_and_no_script():
    page = render("base", **GIVEN)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert f"style-src {hash_asset('page.css')};" in policy
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in policy
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_values_are_escaped_and_none_is_missing():
    assert "<b>" not in render("base", version="<b>", date="")
    with pytest.raises(UndefinedError):
        render("base")


def test_a_page_that_exists_is_kept(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write_page(path, "base", **GIVEN)
    assert path.read_text() == "mine"
