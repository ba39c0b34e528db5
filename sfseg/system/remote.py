"""Addresses of stores that are not on a disk: ``s3://bucket/key``, ``gs://`` and ``http(s)://``."""

import errno
import re
import sys
from pathlib import Path, PurePath
from typing import Self

from sfseg.errors import StackError

if sys.platform == "win32":
    from pathlib import WindowsPath as _Base
else:
    from pathlib import PosixPath as _Base

_ADDRESS = re.compile(r"(?P<scheme>s3|gs|https?)://(?P<rest>.*)", re.DOTALL)
_COLLAPSED = re.compile(r"(?P<scheme>s3|gs|https?):/(?P<rest>[^/].*)", re.DOTALL)
"""What `Path` makes of an address: it takes two slashes for one."""

_PLACES = {
    "s3": re.compile(r"[\w.-]+"),
    "gs": re.compile(r"[\w.-]+"),
    "http": re.compile(r"([\w.-]+|\[[0-9a-f:]+\])(:\d+)?", re.IGNORECASE),
}
_PLACES["https"] = _PLACES["http"]
"""The bucket, or the server and its port: neither has a name and a password in it."""


class RemotePath(_Base):
    """An address as a path: it has a name, a suffix and neighbours, but nothing is on the disk.

    `as_location` makes one. What asks the disk for it finds nothing there.
    """

    def __str__(self) -> str:
        """Write the address with both slashes."""
        collapsed = super().__str__().replace("\\", "/")
        return re.sub(r"^(s3|gs|https?):/(?=[^/])", r"\1://", collapsed)

    def resolve(self, strict: bool = False) -> Self:  # noqa: ARG002 - as pathlib has it
        """Return the address: there are no links."""
        return self

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:  # noqa: ARG002
        """Refuse to make a folder ``s3:`` on the disk; raises OSError."""
        raise OSError(errno.ENOTSUP, "this output cannot be written to an address", str(self))

    @property
    def scheme(self) -> str:
        """Return what stands before the colon: s3, gs, http or https."""
        return self.parts[0].removesuffix(":")

    @property
    def bucket(self) -> str:
        """Return the name of the bucket, or of the server."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """Return what comes after the bucket."""
        return "/".join(self.parts[2:])


def as_location(value: str | PurePath) -> Path:
    """Turn a text or a path into a path: a `RemotePath` for an address.

    Parameters
    ----------
    value : str or Path
        A path on the disk, or an address, also one that went through `Path`.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    StackError
        If it is no address of a store, or holds a password or a query, which may be a signature.
        The message does not repeat it.
    """
    if isinstance(value, RemotePath):
        return value
    pattern = _COLLAPSED if isinstance(value, PurePath) else _ADDRESS
    found = pattern.fullmatch(PurePath(value).as_posix() if pattern is _COLLAPSED else str(value))
    if found is None:
        return Path(value)
    scheme, rest = found["scheme"], found["rest"]
    place, _, key = rest.partition("/")
    if not _PLACES[scheme].fullmatch(place) or set("?#") & set(key) or ".." in key.split("/"):
        where = "server" if scheme.startswith("http") else "bucket"
        raise StackError(  # which does not repeat the address: it may hold a password
            f"{scheme}://...: an address is {scheme}://{where}/path.zarr, without a user, a "
            "password, a query (?), # or ..",
            hint="give credentials by the variables of the environment, such as AWS_ACCESS_KEY_ID",
        )
    return RemotePath(f"{scheme}://{rest}")


def is_remote(value: str | PurePath) -> bool:
    """Tell whether it is an address; raises StackError for one that holds a secret."""
    return isinstance(as_location(value), RemotePath)
