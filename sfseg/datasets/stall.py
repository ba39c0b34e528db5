"""Close the connection to a host that delivers too slowly.

The time limits of `requests` only hold for silence: each byte starts them again. A rate check in
the loop that copies the file is not enough either. The loop only runs when bytes of the file
arrive. A host can keep the client busy before and between them for ever: headers, interim answers
(status 1xx), sizes of chunks and trailers are read inside `http.client`, one byte at a time if
the host likes. So a second thread counts the bytes of the file, and shuts the socket down.
"""

import socket
import threading
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter

_TICKS = 10


class Watch:
    """Opens sessions, and cuts their connections if too few bytes arrive for too long.

    Parameters
    ----------
    stall_s : float
        Longest time below the slowest rate.
    slowest_bytes_s : float
        The slowest rate, in bytes a second.
    """

    def __init__(self, stall_s: float, slowest_bytes_s: float) -> None:
        self.has_cut = False
        self.received = 0
        self._tick_s = stall_s / _TICKS
        self._enough = slowest_bytes_s * self._tick_s
        self._quiet = 0
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        for line in self._lines:
            line.close()

    def restart(self) -> None:
        """Start the wait again, for another answer."""
        self._quiet = 0

    def session(self) -> requests.Session:
        """Open a session whose connections are watched."""
        session = _Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(self))
        return session

    def keep(self, line: socket.socket) -> None:
        """Remember another connection, to cut it."""
        with self._lock:
            self._lines.append(line.dup())  # TLS takes the first one over
            if self.has_cut:
                _cut(line)

    def _run(self) -> None:
        """Cut after ten slow ticks in a row.

        Ticks are counted, not time: a process that was asleep has few ticks.
        """
        before = 0
        while self._quiet < _TICKS:
            if self._done.wait(self._tick_s):
                return
            enough = self.received - before >= self._enough
            self._quiet, before = 0 if enough else self._quiet + 1, self.received
        with self._lock:
            self.has_cut = True
            for line in self._lines:
                _cut(line)


def _cut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the host was faster


class _Session(requests.Session):
    """Follows no redirects: it would read the body of each one into memory, of any size."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        del resp
        return None


class _Adapter(HTTPAdapter):
    """Opens connections that the watch can cut."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **options)
        kind, watch = type(pool).ConnectionCls, self._watch

        class Watched(kind):  # type: ignore[misc, valid-type]  # http or https, by the pool
            def _new_conn(self) -> socket.socket:
                line: socket.socket = super()._new_conn()
                watch.keep(line)
                return line

        pool.ConnectionCls = Watched
        return pool
