"""Download one file over https, with limits on size and time.

TLS certificates are always checked. Plain http works only for a server on this machine, and a
redirect never leads from https to http.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from sfseg import __version__
from sfseg.datasets.stall import Watch
from sfseg.errors import FetchError

DownloadProgress = Callable[[str, int, int | None], None]
"""Called with the name of the file, the bytes so far, and the total or None if it is unknown."""

_HEADERS = {
    "User-Agent": f"sfseg/{__version__}",
    "Accept-Encoding": "identity",  # then Content-Length is the number of bytes that are written
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_REDIRECTS = 5
_CHUNK_BYTES = 1 << 17
_DIGITS = 18  # most digits of a length in bytes


@dataclass(frozen=True)
class Patience:
    """How long to wait for a host.

    Attributes
    ----------
    connect_s : float
        Longest wait for a connection.
    stall_s : float
        Longest wait for the next byte, and longest time below the slowest rate.
    slowest_bytes_s : float
        The slowest rate, in bytes a second.
    pauses_s : tuple of float
        Pause before each retry after a failure that may pass.
    """

    connect_s: float = 10.0
    stall_s: float = 30.0
    slowest_bytes_s: float = 1000.0
    pauses_s: tuple[float, ...] = (1.0, 3.0)


PATIENT = Patience()


class _TransientError(FetchError):
    """A failure that may be over in a moment, so the download is tried again."""


def download(
    url: str, path: Path, *, limit_bytes: int, progress: DownloadProgress, patience: Patience
) -> None:
    """Download a file.

    Parameters
    ----------
    url : str
        Its address: https, or http on this machine.
    path : Path
        The file to write. After an error its contents are useless.
    limit_bytes : int
        Largest size; a larger file is refused.
    progress : callable
        Called after each chunk; see `DownloadProgress`.
    patience : Patience
        How long to wait for the host, and how often to try.

    Raises
    ------
    FetchError
        If the address is not safe, or the host did not deliver.
    """
    _refuse_open_wire(url, local=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    for pause in patience.pauses_s:
        try:
            return _attempt(url, path, limit_bytes, progress, patience)
        except _TransientError:
            time.sleep(pause)
    return _attempt(url, path, limit_bytes, progress, patience)


def shown(url: str) -> str:
    """Return an address without password, token and control characters, to print it."""
    parts = _split(url)
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise FetchError(f"{url!r}: this is not an address: {error}") from error


def _refuse_open_wire(url: str, *, local: bool) -> None:
    """Refuse an address that is neither https nor, if `local` allows it, http on this machine."""
    parts = _split(url)
    # Parsers disagree about "host\@other": some connect to the host, others to the other.
    is_plain = url.isprintable() and not set(url) & set("\\ ")
    safe = parts.scheme == "https" or (local and parts.hostname in _LOOPBACK and is_plain)
    if not safe or parts.scheme not in ("https", "http"):
        raise FetchError(
            f"{shown(url)}: only https addresses are allowed",
            hint="download it with another program, then give the file: --from FILE",
        )


def _attempt(
    url: str, path: Path, limit: int, progress: DownloadProgress, patience: Patience
) -> None:
    """Try once, and turn every error into a FetchError."""
    watch = Watch(patience.stall_s, patience.slowest_bytes_s)
    try:
        with (
            watch,
            watch.session() as session,
            _follow(session, url, patience, watch) as response,
            path.open("wb") as out,
        ):
            _copy(response, out, limit, lambda *bytes_: progress(path.name, *bytes_), watch)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        _require_uncut(url, watch, error)
        raise _explain(url, error) from error
    _require_uncut(url, watch)


def _require_uncut(url: str, watch: Watch, error: Exception | None = None) -> None:
    if watch.has_cut:
        raise FetchError(
            f"{shown(url)}: the download is too slow: stopped after {watch.received:,} bytes"
        ) from error


def _explain(url: str, error: Exception) -> FetchError:
    """Turn an error of requests or urllib3 into a FetchError; transient if it may pass."""
    name = shown(url)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return FetchError(f"{name}: no answer in time")
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return FetchError(f"{name}: the certificate of the host is not valid: {_reason(error)}")
    if isinstance(_first_cause(error), socket.gaierror):
        request = getattr(error, "request", None)  # of a redirect, perhaps
        host = _split(shown(request.url if request else url)).hostname
        return _TransientError(f"{name}: no connection to {host} (are you online?)")
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
        return _TransientError(f"{name}: no answer: {_reason(error)}")
    return FetchError(f"{name}: this is not an address: {_reason(error)}")  # of a redirect, too


def _first_cause(error: BaseException) -> BaseException:
    """Return the error that all others wrap; requests and urllib3 wrap it up to five times."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _reason(error: BaseException) -> str:
    """Return the text of the first cause, without control characters."""
    cause = _first_cause(error)
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


def _follow(
    session: requests.Session, url: str, patience: Patience, watch: Watch
) -> requests.Response:
    """Request the file, and follow safe redirects."""
    start = url
    for _ in range(_REDIRECTS + 1):
        watch.restart()
        session.trust_env = _split(url).scheme == "https"  # no proxy for this machine
        response = session.get(
            url,
            stream=True,
            allow_redirects=False,
            headers=_HEADERS,
            timeout=(patience.connect_s, patience.stall_s),
        )
        if not response.is_redirect:
            return response
        response.close()
        local = _split(url).scheme == "http"  # https never leads back to http
        url = urljoin(url, response.headers["location"])
        _refuse_open_wire(url, local=local)
    raise FetchError(f"{shown(start)}: more than {_REDIRECTS} redirects")


def _copy(
    response: requests.Response,
    out: BinaryIO,
    limit: int,
    progress: Callable[[int, int | None], None],
    watch: Watch,
) -> None:
    """Copy the body of an answer to a file, up to the limit."""
    name, total = shown(response.url), _announced_bytes(response)
    if total is not None and total > limit:
        raise FetchError(f"{name}: too large: {total:,} bytes, at most {limit:,} are accepted")
    watch.restart()
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        watch.received += len(chunk)
        if watch.received > limit:
            raise FetchError(f"{name}: too large: at most {limit:,} bytes are accepted")
        out.write(chunk)
        progress(watch.received, total)
    if total is not None and watch.received != total and not watch.has_cut:
        raise _TransientError(f"{name}: cut short: {watch.received:,} of {total:,} bytes came")


def _announced_bytes(response: requests.Response) -> int | None:
    """Return the length that the host announces, or None; refuse an answer without a file."""
    status = response.status_code
    if status != requests.codes.ok:
        kind = _TransientError if status >= 500 or status == 429 else FetchError
        raise kind(f"{shown(response.url)}: the host answered with status {status}")
    length = response.headers.get("content-length", "")
    if len(length) > _DIGITS:
        raise FetchError(f"{shown(response.url)}: the host announced an impossible length")
    return int(length) if length.isascii() and length.isdecimal() else None
