"""Download one file over https: bounded, patient up to a point, never over an open wire.

TLS is always checked. Plain http is only for a server on this very machine, and nothing that began
with https is followed to anything else.
"""

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
"""Is told what is being delivered, the bytes so far, and their total where the host says it."""

_HEADERS = {
    "User-Agent": f"sfseg/{__version__}",
    "Accept-Encoding": "identity",  # so that Content-Length counts the bytes that are written
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_REDIRECTS = 5
_CHUNK_BYTES = 1 << 17
_DIGITS = 18  # of a length in bytes


@dataclass(frozen=True)
class Patience:
    """How long to wait for a host.

    Attributes
    ----------
    connect_s : float
        For a connection.
    stall_s : float
        For the next byte; and how long a download may be slower than the slowest.
    slowest_bytes_s : float
        The slowest tolerated rate.
    pauses_s : tuple of float
        Before each further attempt, where a failure may be a passing one.
    """

    connect_s: float = 10.0
    stall_s: float = 30.0
    slowest_bytes_s: float = 1000.0
    pauses_s: tuple[float, ...] = (1.0, 3.0)


PATIENT = Patience()


class _PassingError(FetchError):
    """A failure that may be over in a moment."""


def download(
    url: str, path: Path, *, limit_bytes: int, progress: DownloadProgress, patience: Patience
) -> None:
    """Download a file.

    Parameters
    ----------
    url : str
        Where it is: https, or http on this machine.
    path : Path
        Where to put it. What is there after an error is rubbish.
    limit_bytes : int
        More than this is not taken.
    progress : callable
        Is told the bytes so far.
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
        except _PassingError:
            time.sleep(pause)
    return _attempt(url, path, limit_bytes, progress, patience)


def shown(url: str) -> str:
    """Return an address as it may be shown, without a password, a token or a terminal's codes."""
    parts = _split(url)
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise FetchError(f"{url!r}: expected an address, found {error}") from error


def _refuse_open_wire(url: str, *, local: bool) -> None:
    """Refuse an address that is not https, nor, where that is allowed, on this machine."""
    parts = _split(url)
    # Of a host before a backslash some say that it is the user's name, others connect to it.
    is_plain = url.isprintable() and not set(url) & set("\\ ")
    safe = parts.scheme == "https" or (local and parts.hostname in _LOOPBACK and is_plain)
    if not safe or parts.scheme not in ("https", "http"):
        raise FetchError(
            f"{shown(url)}: expected an https address, found {parts.scheme or 'none'}",
            hint="download it with a tool of your choice and give the file: --from FILE",
        )


def _attempt(
    url: str, path: Path, limit: int, progress: DownloadProgress, patience: Patience
) -> None:
    """Try once, and say in our words what went wrong."""
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
        raise _in_our_words(shown(url), error) from error
    _require_uncut(url, watch)


def _require_uncut(url: str, watch: Watch, error: Exception | None = None) -> None:
    if watch.has_cut:
        raise FetchError(
            f"{shown(url)}: expected a file in time, found {watch.received:,} bytes and little more"
        ) from error


def _in_our_words(name: str, error: Exception) -> FetchError:
    """Turn an error of a download into one of ours; a kind of its own if it may pass."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return FetchError(f"{name}: expected an answer in time, found none")
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return FetchError(f"{name}: expected a valid certificate, found {_reason(error)}")
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
        return _PassingError(f"{name}: expected an answer, found {_reason(error)}")
    return FetchError(f"{name}: expected an address, found {_reason(error)}")  # of a redirect, too


def _reason(error: BaseException) -> str:
    """Return the text of the first cause; requests and urllib3 wrap it up to five times."""
    while error.__context__ is not None:
        error = error.__context__
    text = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


def _follow(
    session: requests.Session, url: str, patience: Patience, watch: Watch
) -> requests.Response:
    """Request the file, and follow redirects as long as they are safe."""
    start = url
    for _ in range(_REDIRECTS + 1):
        watch.restart()
        session.trust_env = _split(url).scheme == "https"  # no proxy for what is on this machine
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
    raise FetchError(f"{shown(start)}: expected a file, found more than {_REDIRECTS} redirects")


def _copy(
    response: requests.Response,
    out: BinaryIO,
    limit: int,
    progress: Callable[[int, int | None], None],
    watch: Watch,
) -> None:
    """Copy the body of an answer to a file, no more of it than it may have."""
    name, total = shown(response.url), _announced_bytes(response)
    if total is not None and total > limit:
        raise FetchError(f"{name}: expected at most {limit:,} bytes, found {total:,} announced")
    watch.restart()
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        watch.received += len(chunk)
        if watch.received > limit:
            raise FetchError(f"{name}: expected at most {limit:,} bytes, found more")
        out.write(chunk)
        progress(watch.received, total)
    if total is not None and watch.received != total and not watch.has_cut:
        raise _PassingError(f"{name}: expected {total:,} bytes, found {watch.received:,}")


def _announced_bytes(response: requests.Response) -> int | None:
    """Return the length that the host announces, if it does; refuse an answer without a file."""
    status = response.status_code
    if status != requests.codes.ok:
        kind = _PassingError if status >= 500 or status == 429 else FetchError
        raise kind(f"{shown(response.url)}: expected a file, found status {status}")
    length = response.headers.get("content-length", "")
    if len(length) > _DIGITS:
        raise FetchError(
            f"{shown(response.url)}: expected a length, found {len(length)} characters"
        )
    return int(length) if length.isascii() and length.isdecimal() else None
