"""Hosts that do all they can to a download, on this machine: each is refused or survived."""

import contextlib
import gzip
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sfseg.datasets import fetch
from sfseg.datasets.download import Patience
from tests.localhost import (
    Answer,
    Host,
    deliver,
    deliver_without_length,
    endless,
    hang_up,
    in_a_child,
    raw,
    redirect,
)
from tests.processes import HANGS_S
from tests.trust.children import content, names, sfseg
from tests.trust.rows import Row
from tests.trust.small import World

HASTY = Patience(connect_s=1.0, stall_s=0.6, slowest_bytes_s=1000, pauses_s=(0.01,))
PATIENT = Patience(connect_s=HANGS_S, stall_s=HANGS_S, pauses_s=(0.01,))
"""For what must succeed, however busy the machine is."""

BYTES = 500e6

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FOUND = b"HTTP/1.1 302 Found\r\nLocation: /good/volume.tif\r\n"


def bad_answers(body: bytes, other: bytes) -> dict[str, Answer]:
    """Return the ways not to deliver a file, by what a host does.

    Parameters
    ----------
    body, other : bytes
        The file, and another one of its kind.
    """
    size = len(body)
    told = b"Content-Length: %d\r\n" % size
    return {
        "cuts it short": deliver(body[:3000], announce=size),
        "cuts it short without notice": deliver_without_length(body[:3000]),
        "sends other bytes": deliver(bytes(size)),
        "sends other pixels": deliver(other),
        "announces too much": deliver(body, announce=10_000_000),
        "announces too little": deliver(body, announce=500),
        "announces less than nothing": raw(OK, b"Content-Length: -5\r\n\r\n", body[:3000]),
        "announces 2^63 bytes": deliver(body, announce=2**63),
        "announces a length of 5,000 digits": raw(
            OK, b"Content-Length: ", b"9" * 5000, b"\r\n\r\n", body
        ),
        "announces no number": raw(OK, b"Content-Length: many\r\n\r\n", body[:3000]),
        "announces two lengths": raw(OK, told, b"Content-Length: 7\r\n\r\n", body),
        "sends a part": deliver(body, status=206),
        "sends another part": raw(
            b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 9-99/100\r\n", told, b"\r\n", body
        ),
        "says that the range is wrong": deliver(b"", status=416),
        "redirects in a circle": redirect("volume.tif"),
        "redirects to the open wire": redirect("http://example.org/volume.tif"),
        "redirects to the open wire by a trick": redirect(
            "http://example.org\\@127.0.0.1/volume.tif"
        ),
        "redirects to a file": redirect("file:///etc/passwd"),
        "redirects to ftp": redirect("ftp://127.0.0.1/volume.tif"),
        "redirects to a port where nobody is": redirect("http://127.0.0.1:1/volume.tif"),
        "redirects to nonsense": redirect("http://[oops/"),
        "redirects to nowhere": raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
        "redirects with codes for the terminal": redirect("http://\x1b]0;evil\x07/volume.tif"),
        "redirects with a body without end": endless(
            FOUND.replace(b"/good", b"") + b"\r\n", bytes(1 << 16)
        ),
        "sends ten times as much": deliver(body * 10 * (1 + 3_000_000 // size)),
        "sends without end": endless(OK + b"\r\n", bytes(1 << 16)),
        "sends what unpacks to 100 MB": raw(
            OK, b"Content-Encoding: gzip\r\n\r\n", gzip.compress(bytes(10**8), 1)
        ),
        "is busy": deliver(b"busy", status=503),
        "is busy without end": endless(b"HTTP/1.1 503 Busy\r\n\r\n", bytes(1 << 16)),
        "hangs up": hang_up,
        "hangs up in a header": raw(OK, b"Content-Len"),
        "speaks another language": raw(b"220 ftp.example.org ready\r\n" * 3),
        "speaks no language": raw(bytes(range(256)) * 9),
        "says a page of text": deliver(b"<html>please log in</html>"),
        "sends nothing": deliver(b""),
        "falls silent": endless(OK + told + b"\r\n" + body[:100], b"", 0.05),
        "falls silent at once": endless(b"", b"", 0.05),
        "sends a byte now and then": endless(OK + told + b"\r\n", b"x", 0.05),
        "sends a header without end": endless(OK + b"X: ", b"x" * 1000),
        "sends headers without end": endless(OK, b"X: x\r\n"),
        "sends a header now and then": endless(OK, b"x", 0.05),
        "sends interim answers without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "sends interim answers now and then": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
        "sends no chunks": raw(CHUNKED, b"what is a chunk?\r\n"),
        "sends a chunk of less than nothing": raw(CHUNKED, b"-5\r\n", body),
        "sends a chunk of 2^64": raw(CHUNKED, b"1" + b"0" * 16 + b"\r\n", body),
        "cuts a chunk short": raw(CHUNKED, b"ffff\r\n", body[:100]),
        "sends a chunk's size now and then": endless(CHUNKED, b"0", 0.05),
        "sends empty chunks' names without end": endless(CHUNKED + b"1;", b"x" * 1000),
        "sends trailers now and then": endless(CHUNKED + b"0\r\n", b"X: x\r\n", 0.05),
        "sends trailers without end": endless(CHUNKED + b"0\r\n", b"X: x\r\n"),
    }


def passing_answers(body: bytes) -> dict[str, tuple[Answer, ...]]:
    """Return what is survived: a failure that passes, and unusual ways to deliver a file."""
    good, half = deliver(body), len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:], b""))
    return {
        "is busy once": (deliver(b"", status=503), good),
        "hangs up once": (hang_up, good),
        "cuts it short once": (deliver(body[:100], announce=len(body)), good),
        "says no length": (deliver_without_length(body),),
        "sends chunks": (raw(CHUNKED, chunks),),
        "redirects": (redirect("/good/volume.tif"),),
        "redirects with a body": (raw(FOUND, b"\r\n", bytes(1 << 20)),),
    }


@dataclass(frozen=True)
class Case:
    """A host to fetch from, what it does, and whether the fetch succeeds all the same."""

    what: str
    url: str
    survived: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def open_cases(world: World, folder: Path) -> Iterator[list[Case]]:
    """Serve all the hosts."""
    body, labels = world.volume.read_bytes(), world.labels.read_bytes()
    with contextlib.ExitStack() as stack:
        plain = Host()
        plain.serve("good/volume.tif", deliver(body))
        plain.serve("good/labels.tif", deliver(labels))
        cases = []
        bad = {what: (answer,) for what, answer in bad_answers(body, labels).items()}
        for what, answers in (bad | passing_answers(body)).items():
            place = f"{len(cases)}"
            plain.serve(f"{place}/volume.tif", *answers)
            plain.serve(f"{place}/labels.tif", deliver(labels))
            cases.append(Case(what, f"{plain.url}{place}/", what not in bad))
        hosts = [plain]
        secure_url = plain.url.replace("http:", "https:")
        cases.append(Case("has no TLS where it is asked for", f"{secure_url}good/"))
        if shutil.which("openssl"):
            secure, more = _secured(plain, folder)
            hosts.append(secure)
            cases += more
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = silent.getsockname()[1]
        cases.append(Case("never answers", f"http://127.0.0.1:{port}/"))
        cases.append(Case("never shakes hands", f"https://127.0.0.1:{port}/"))
        stack.enter_context(in_a_child(*hosts))
        yield cases


def _secured(plain: Host, folder: Path) -> tuple[Host, list[Case]]:
    """Make a host with a certificate of its own making, for the name localhost."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([*make, *name, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    host = Host()
    host.socket = context.wrap_socket(host.socket, server_side=True, do_handshake_on_connect=False)
    host.answers = {
        f"good/{name}.tif": plain.answers[f"good/{name}.tif"] for name in ("volume", "labels")
    }
    host.serve("down/volume.tif", redirect(f"{plain.url}good/volume.tif"))
    host.serve("down/labels.tif", *plain.answers["good/labels.tif"])
    trusted = {"REQUESTS_CA_BUNDLE": str(certificate)}
    numbered = f"https://127.0.0.1:{host.server_port}/"
    named = f"https://localhost:{host.server_port}/"
    return host, [
        Case("has a certificate of its own making", f"{named}good/"),
        Case("has a certificate for another name", f"{numbered}good/", environment=trusted),
        Case("redirects from https to http", f"{named}down/", environment=trusted),
        Case("has a certificate that is trusted", f"{named}good/", True, trusted),
    ]


def limit(case: Case) -> Callable[[], None]:
    """Make a process that has little memory to lose, and waits for a host only where it must."""

    def prepare() -> None:
        fetch.fetch.__kwdefaults__["patience"] = PATIENT if case.survived else HASTY
        os.environ |= case.environment
        signal.alarm(HANGS_S)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + int(BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return prepare


def try_host(world: World, case: Case, cache: Path) -> str:
    """Fetch from a host; tell what is wrong."""
    cache.mkdir()
    before = [world.enter, limit(case)]
    ended = sfseg(*world.fetch(cache, case.url), before=before).end()
    if case.survived:
        found = content(cache / "toy")
        whole = {path.name: path.read_bytes() for path in (world.volume, world.labels)}
        kept = {name: found.get(name) for name in whole}
        return "" if not ended.code and kept == whole and names(cache) == {"toy"} else str(ended)
    if not ended.is_explained or not ended.stderr.replace("\n", "").isprintable():
        return f"exit code {ended.code}: {ended.stderr[-600:]!r}"
    return f"left behind: {names(cache)}" if names(cache) else ""


def run(count: int, seed: int) -> Row:
    """Fetch from every kind of host, or so many, drawn by the seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        world = World(folder / "world")
        with open_cases(world, folder) as cases:
            order = np.random.default_rng(seed).permutation(len(cases))
            chosen = [int(index) for index in (order[:count] if count else range(len(cases)))]
            tried = [try_host(world, cases[n], folder / f"{n}") for n in chosen]
            failures = [
                f"case {index}, a host that {cases[index].what}: {wrong}"
                for index, wrong in zip(chosen, tried, strict=True)
                if wrong
            ]
    held = len(chosen) - len(failures)
    return Row("hostile hosts refused or survived", held, len(chosen), "", failures)
