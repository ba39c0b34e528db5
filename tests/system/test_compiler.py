"""Compiling needs a C++ compiler, and says what to do without one."""

import pytest

from sfseg.errors import DeviceError
from sfseg.system import compiler


def test_compiling_without_a_compiler_says_what_to_do_instead(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda _name: None)
    with pytest.raises(DeviceError, match="leave --compile out"):
        compiler.require_compiler("leave --compile out")
