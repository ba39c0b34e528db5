"""Objects of a store that is not on a disk: buckets of S3 and Google, and web servers.

`obstore`, an extra, asks for them; it tries again where a server is busy. Credentials come from the
environment, and for Google from the file of `gcloud`.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sfseg.errors import MissingExtraError, RemoteError
from sfseg.io.guards import SMALL_BYTES, refuse_untrusted
from sfseg.io.remote_errors import explain_list, explain_remote, has_no_role
from sfseg.system.files import ZARR_MARKS
from sfseg.system.remote import RemotePath

if TYPE_CHECKING:
    from obstore.store import ObjectStore

RETRIES: dict[str, Any] = {"max_retries": 7, "retry_timeout": timedelta(seconds=120)}
"""How often a request is tried again, with pauses from 0.1 to 15 s; see obstore's RetryConfig."""

WAITS = {"connect_timeout": "10s", "timeout": "120s"}
"""For a connection, and for the whole of one answer: a shard has some 16 MB."""

ROLE_RETRIES: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=3)}
ROLE_WAITS = {"timeout": "3s"}
"""For the role of the machine; Google's own library also waits three seconds."""

_KEYS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SKIP_SIGNATURE",
    ),
}
"""How the variables begin that make it needless to ask for a role."""

_SERVERS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""Variables that name another server; obstore panics at one without http:// or https://, and for S3
at an empty one."""

_REGIONS = {"s3": ("AWS_REGION", "AWS_DEFAULT_REGION"), "gs": ()}
"""Variables that become a part of the server's name; obstore panics at a space in it."""

_HEADERS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"),
    "gs": ("GOOGLE_BEARER_TOKEN",),
}
"""Variables that are sent in the header of a request; obstore panics at a line break in it."""

DRAFT = "zarr.json.part"
"""The metadata of a store in a bucket that is not whole yet; no reader knows the name."""


class ObjectFacts(NamedTuple):
    """What a listing says of an object: its key within the store, its size and its version."""

    key: str
    size: int
    tag: str


class Objects:
    """The objects below an address.

    Parameters
    ----------
    path : RemotePath
        The address.

    Raises
    ------
    MissingExtraError
        If obstore is not installed.
    RemoteError
        If the settings in the environment cannot be used.
    """

    def __init__(self, path: RemotePath) -> None:
        try:
            import obstore
        except ImportError as error:
            raise MissingExtraError.from_extra("cloud", str(path)) from error
        self.path, self._obstore = path, obstore
        _check_variables(path)
        with explain_remote(path):
            self.store: ObjectStore
            if self.can_list:
                _ask_for_role(path)
                self.store = _open_bucket(path, path.key, WAITS, RETRIES)
            else:
                self.store = _open_web(path)

    @property
    def can_list(self) -> bool:
        """Tell whether one can ask which objects there are: a web server does not say it."""
        return self.path.scheme in _KEYS

    def read(self, key: str) -> bytes | None:
        """Read a small object, such as metadata; None if there is none.

        Raises
        ------
        RemoteError
            If the server does not answer, or does not permit it.
        StackError
            If there is no such bucket, or the object has over 64 MiB.
        """
        try:
            with explain_remote(self.path):
                found = self._obstore.get(self.store, key)
                if found.meta["size"] > SMALL_BYTES:
                    refuse_untrusted(str(self.path), f"{key} has more than {SMALL_BYTES} bytes")
                return bytes(found.bytes())
        except FileNotFoundError:
            return None

    def read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """Read a small object and its version; None if there is none. Raises as `read` does."""
        try:
            with explain_remote(self.path):
                found = self._obstore.get(self.store, key)
                return bytes(found.bytes()), str(found.meta["e_tag"])
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Write an object, and replace an older one; raises as `read` does."""
        with explain_remote(self.path):
            self._obstore.put(self.store, key, data)

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object unless there is one; return its version, or None. Raises as `read`."""
        return self._put_if(key, data, "create")

    def replace(self, key: str, data: bytes, tag: str) -> str | None:
        """Write an object if the one there has a version; return the new one, or None."""
        return self._put_if(key, data, {"e_tag": tag})

    def _put_if(self, key: str, data: bytes, mode: Any) -> str | None:
        """Write an object on a condition; return its version, or None if it does not hold."""
        exceptions = self._obstore.exceptions
        try:
            with explain_remote(self.path):
                try:
                    return str(self._obstore.put(self.store, key, data, mode=mode)["e_tag"])
                except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                    return None
        except FileNotFoundError:
            return None

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects, whether they are there or not. Raises as `read` does."""
        if keys:
            with explain_remote(self.path), contextlib.suppress(FileNotFoundError):
                self._obstore.delete(self.store, list(keys))

    def has(self, prefix: str) -> bool:
        """Tell whether there is an object below a part of the key. Raises as `read` does."""
        return next(self.list(prefix), None) is not None

    def list(self, prefix: str = "") -> Iterator[ObjectFacts]:
        """List the objects below a part of the key; raises as `read` does."""
        with explain_list(self.path), explain_remote(self.path):
            for batch in self._obstore.list(self.store, prefix or None):
                for each in batch:
                    tag = each["e_tag"] or each["last_modified"].isoformat()
                    yield ObjectFacts(each["path"], each["size"], tag)


def read_metadata(objects: Objects, inside: str) -> dict[str, bytes]:
    """Read the metadata of a node of a Zarr store, and of the groups above it.

    Parameters
    ----------
    objects : Objects
        Those of the store.
    inside : str
        The path of the node; empty for the store itself.

    Returns
    -------
    dict of str to bytes
        By key. What the server does not permit to read is not there. Those of a store that is not
        whole have the key that they will have.
    """
    parts, found = [part for part in inside.split("/") if part], {}
    for depth in range(len(parts) + 1):
        for mark in ZARR_MARKS:
            key = "/".join([*parts[:depth], mark])
            try:
                data = objects.read(key)
            except RemoteError as error:
                if not error.is_denied:
                    raise
                data = None
            if data is not None:
                found[key] = data
    draft = None if found else objects.read(DRAFT)
    return found if draft is None else {"zarr.json": draft}


def _open_bucket(
    path: RemotePath, prefix: str, waits: dict[str, str], retries: dict[str, Any]
) -> "ObjectStore":
    """Open what is below a prefix in the bucket of an address."""
    from obstore import store

    kind = store.S3Store if path.scheme == "s3" else store.GCSStore
    options: dict[str, Any] = {
        "client_options": {**waits, "allow_http": True},
        "retry_config": retries,
    }
    return kind(path.bucket, prefix=prefix or None, **options)


def _open_web(path: RemotePath) -> "ObjectStore":
    """Open what is below an address of a web server."""
    from obstore.store import HTTPStore

    options: dict[str, Any] = {
        "client_options": {**WAITS, "allow_http": path.scheme == "http"},
        "retry_config": RETRIES,
    }
    return HTTPStore.from_url(str(path), **options)


def _check_variables(path: RemotePath) -> None:
    """Raise RemoteError if a variable of the environment is one at which obstore panics."""
    for name in _SERVERS.get(path.scheme, ()):
        value = os.environ.get(name)
        is_unset = value is None or (not value and path.scheme == "gs")
        if not is_unset and not re.fullmatch(r"https?://\S+", value or ""):
            raise RemoteError(
                f"{path}: {name} is {'not the address of a server' if value else 'set, but empty'}",
                hint=f"begin {name} with https:// or http://, and leave no spaces in it; or unset "
                "it",
            )
    for name in _REGIONS.get(path.scheme, ()):
        value = os.environ.get(name)
        if value and not re.fullmatch(r"[\w.-]+", value, re.ASCII):
            raise RemoteError(
                f"{path}: {name} is {value!r}, not the name of a region",
                hint=f"set {name} to letters, digits and hyphens, such as eu-west-1; or unset it",
            )
    for name in _HEADERS.get(path.scheme, ()):
        if not re.fullmatch(r"[\x20-\x7e]*", os.environ.get(name, "")):
            raise RemoteError(  # without the value, which is a secret
                f"{path}: {name} has a line break or another character that no key has",
                hint=f"set {name} again; the end of a line may have been copied with it",
            )


def _ask_for_role(path: RemotePath) -> None:
    """Raise what obstore raises if neither the environment nor the machine gives credentials.

    Only a machine at Amazon or Google has a server that knows its role. Elsewhere a network may
    swallow the question, and obstore would wait for two minutes.
    """
    if not any(name.startswith(_KEYS[path.scheme]) for name in os.environ):
        _ask_once(path.scheme, path.bucket)


@functools.cache  # which keeps no exception: who sets a variable in a notebook is asked again
def _ask_once(scheme: str, bucket: str) -> None:
    from obstore import exceptions, get

    path = RemotePath(f"{scheme}://{bucket}")
    try:
        get(_open_bucket(path, "", ROLE_WAITS, ROLE_RETRIES), "zarr.json")
    except FileNotFoundError:
        pass
    except exceptions.BaseError as error:
        if has_no_role(error):
            raise
