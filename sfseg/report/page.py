"""Pages that work from one file: HTML from templates, with all styles, scripts and pictures inside.

Nothing is loaded from elsewhere, and the page says so to the browser: its content security policy
allows the styles and scripts that are in the file, by their hash, and pictures in ``data:``
addresses. Whatever a template prints is escaped, unless it is `Markup`.
"""

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sfseg import __version__
from sfseg.system import files

ASSETS = Path(__file__).parent / "assets"


def write_page(path: Path, template: str, *, overwrite: bool = False, **values: Any) -> None:
    """Render a template into a file that appears whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    template, **values
        See `render`.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        If the file exists and is not to be replaced.
    OSError
        If it cannot be written.
    """
    files.write_text(path, render(template, **values), overwrite=overwrite)


def made_on(seconds: float) -> dict[str, str]:
    """Return what the footer of each page says: the version, and the local time of a moment.

    Parameters
    ----------
    seconds : float
        Since 1970.
    """
    moment = datetime.fromtimestamp(seconds).astimezone()
    return {"version": __version__, "date": moment.isoformat(" ", "seconds")}


def render(template: str, **values: Any) -> str:
    """Render one of the templates of this package.

    Parameters
    ----------
    template : str
        Its name, without ``.html``.
    **values
        What it prints. All values that it names have to be there.
    """
    return _environment().get_template(f"{template}.html").render(values)


@cache
def read_asset(name: str) -> Markup:
    """Read a style sheet or script of this package, to stand in a page as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def hash_asset(name: str) -> Markup:
    """Return the source by which a content security policy allows one asset."""
    digest = hashlib.sha256(read_asset(name).encode()).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode()}'")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sfseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # a page belongs to one version, even if another is installed meanwhile
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=read_asset, asset_hash=hash_asset)
    return environment
