"""A host of files on this machine that can be as bad as one likes."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def deliver(body: bytes, *, status: int = 200, announce: int | None = None) -> Answer:
    """Answer with a body, and with the length of it or another one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if announce is None else announce))
        request.end_headers()
        request.wfile.write(body)

    return answer


def deliver_without_length(body: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(body)

    return answer


def redirect(url: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def raw(*parts: bytes) -> Answer:
    """Answer with these bytes and hang up."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"".join(parts))

    return answer


def endless(head: bytes, again: bytes, pause_s: float = 0) -> Answer:
    """Answer with a beginning, and then with the same again and again."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(head)
        while not request.server.ended.wait(pause_s):
            request.wfile.write(again)

    return answer


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


class Host(ThreadingHTTPServer):
    """Serves `answers` by path, in turn where there are several; 404 for any other path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def serve(self, path: str, *answers: Answer) -> None:
        """Give these answers, one after the other, and the last one for ever."""
        self.answers[path] = list(answers)

    def stall(self, sent: bytes) -> Answer:
        """Announce more than is sent, then fall silent."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            deliver(sent, announce=len(sent) + 1000)(request)
            self.ended.wait()

        return answer

    def trickle(self, pause_s: float) -> Answer:
        """Send a byte at a time, never silent for long."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            deliver(b"", announce=1000)(request)
            while not self.ended.wait(pause_s):
                request.wfile.write(b"x")

        return answer

    def __enter__(self) -> "Host":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away: some of them should."""


@contextlib.contextmanager
def in_a_child(*hosts: Host) -> Iterator[None]:
    """Let hosts serve in a process of their own, so that this one has no threads and can fork."""
    child = os.fork()
    if not child:
        for host in hosts:
            threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
        while True:
            signal.pause()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for host in hosts:
            host.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        path = self.path.removeprefix("/")
        self.server.requests.append(path)
        answers = self.server.answers.get(path, [deliver(b"", status=404)])
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""
