"""Print the dependencies of pyproject.toml, with those of all extras, a line each."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
print(*project["dependencies"], *(line for extra in extras for line in extra), sep="\n")
