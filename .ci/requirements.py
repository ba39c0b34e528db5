"""Print the dependencies of pyproject.toml, with those of the extras, a line each."""

import tomllib
from pathlib import Path

LEFT_OUT = {"napari"}  # half a gigabyte with its Qt, and no test that is tried needs it

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
tried = [line for name, lines in extras.items() if name not in LEFT_OUT for line in lines]
print(*project["dependencies"], *tried, sep="\n")
