"""Objects of a store that is not on a disk: buckets of S3 and Google, and web servers.

`obstore`, an extra, asks for them; it tries again where a server is busy. Credentials come from the
environment only, and no message repeats what a server says: that may quote the request.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sfseg.errors import MissingExtraError, RemoteError, StackError
from sfseg.io.guards import SMALL_BYTES, refuse_untrusted
from sfseg.system.files import ZARR_MARKS
from sfseg.system.remote import RemotePath

if TYPE_CHECKING:
    from obstore.store import ObjectStore

RETRIES: dict[str, Any] = {"max_retries": 7, "retry_timeout": timedelta(seconds=120)}
"""How often a request is tried again, with pauses from 0.1 to 15 s; see obstore's RetryConfig."""

WAITS = {"connect_timeout": "10s", "timeout": "120s"}
"""For a connection, and for the whole of one answer: a shard has some 16 MB."""

_CODE = re.compile(r"<Code>(\w+)</Code>")
"""What an answer of S3 and of Google calls the error."""

_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "AWS_SKIP_SIGNATURE=true, and AWS_REGION where it lies",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket GOOGLE_SKIP_SIGNATURE=true",
}
_REGION = ("it is in another region", "set AWS_REGION to the region of the bucket")
_CODES = {
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "ExpiredToken": ("the credentials have expired", "get new ones, then start again"),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set the clock"),
    "SlowDown": ("too many requests for the server", "wait a while, then start again"),
}
"""What is wrong, and what helps, by the code of the error."""

_NO_KEYS = re.compile(r"169\.254\.|metadata|token request|credential", re.IGNORECASE)
"""What obstore says where the environment has no credentials and the machine has no role."""


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
            from obstore import store
        except ImportError as error:
            raise MissingExtraError.from_extra("cloud", str(path)) from error
        self.path, self._obstore = path, obstore
        options: dict[str, Any] = {
            "client_options": {**WAITS, "allow_http": path.scheme != "https"},
            "retry_config": RETRIES,
        }
        with explain_remote(path):
            self.store: ObjectStore
            if path.scheme == "s3":
                self.store = store.S3Store(path.bucket, prefix=path.key or None, **options)
            elif path.scheme == "gs":
                self.store = store.GCSStore(path.bucket, prefix=path.key or None, **options)
            else:
                self.store = store.HTTPStore.from_url(str(path), **options)

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
        with explain_remote(self.path):
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


@contextlib.contextmanager
def explain_remote(path: RemotePath) -> Iterator[None]:
    """Turn what obstore raises into an error in plain words; without what the server said.

    Raises
    ------
    RemoteError
        If the server does not answer, or does not permit it.
    StackError
        If there is no such bucket.
    FileNotFoundError
        Unchanged, if there is no such object.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        _refuse_missing_bucket(path, error)
        raise
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _denied(path, error) from None
    except exceptions.NotSupportedError:
        raise RemoteError(
            f"{path}: the server sends whole files only, but the store has many chunks in a file",
            hint="use a server that answers requests for ranges, as nginx and buckets do",
        ) from None
    except exceptions.BaseError as error:
        _refuse_missing_bucket(path, error)
        raise _failed(path, error) from None


def _refuse_missing_bucket(path: RemotePath, error: BaseException) -> None:
    """Raise StackError if the bucket is missing, and not only the object."""
    if "NoSuchBucket" in _CODE.findall(str(error)):
        raise StackError(
            f"{path}: there is no bucket {path.bucket}",
            hint="check the spelling, and AWS_ENDPOINT_URL if the bucket is not at Amazon",
        ) from None


def _denied(path: RemotePath, error: BaseException) -> RemoteError:
    """Make the error of a server that does not permit what was asked."""
    for code in _CODE.findall(str(error)):
        if code in _CODES:
            return _remote_error(path, *_CODES[code])
    return RemoteError(
        f"{path}: no permission",
        hint=_KEYS.get(path.scheme, "copy the store to a disk, with a program that can log in"),
        is_denied=True,
    )


def _failed(path: RemotePath, error: BaseException) -> RemoteError:
    """Make the error of a server that does not answer, or answers with an error."""
    text = str(error)
    for code in _CODE.findall(text):
        if code in _CODES:
            return _remote_error(path, *_CODES[code])
    if path.scheme in _KEYS and _NO_KEYS.search(text):
        return _remote_error(path, "there are no credentials", _KEYS[path.scheme])
    status = re.search(r"status(?: code)?:? (\d{3})", text)
    problem = f"the server answers with error {status[1]}" if status else "no answer"
    where = " and AWS_ENDPOINT_URL" if path.scheme == "s3" else ""
    return _remote_error(path, problem, f"check the address, the network{where}")


def _remote_error(path: RemotePath, problem: str, hint: str) -> RemoteError:
    return RemoteError(f"{path}: {problem}", hint=hint)
