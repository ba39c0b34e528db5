"""Hang up on a host that keeps a download waiting, by whatever means it does so.

The time limits of `requests` are for silence. A host that sends a byte now and then, or for ever
something that is no part of the file, is listened to without end: headers, interim answers, sizes
of chunks, trailers. So another thread counts what arrives of the file, and cuts the line.
"""

import socket
import threading
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter

_TICKS = 10


class Watch:
    """Sessions whose connections are cut when too little has arrived for too long.

    Parameters
    ----------
    stall_s : float
        How long too little may arrive.
    slowest_bytes_s : float
        How much is enough.
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
        """Begin to wait anew, for another answer."""
        self._quiet = 0

    def session(self) -> requests.Session:
        """Open a session that is watched."""
        session = _Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(self))
        return session

    def keep(self, line: socket.socket) -> None:
        """Have another connection to cut."""
        with self._lock:
            self._lines.append(line.dup())  # TLS takes the first one over
            if self.has_cut:
                _cut(line)

    def _run(self) -> None:
        """Count the ticks in which too little has arrived: a process that was asleep has few."""
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
    """Leaves redirects alone; else all that a host sends with one would be read into memory."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        del resp
        return None


class _Adapter(HTTPAdapter):
    """Opens connections that a watch knows."""

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
