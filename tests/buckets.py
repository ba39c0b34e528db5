"""A service like S3 on this machine, and a web server that sends parts of files."""

import contextlib
import itertools
import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.processes import started

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYSECRETKEY"

_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()  # until the tests end, in whatever way
"""
_numbers = itertools.count(1)


@contextlib.contextmanager
def s3_service() -> Iterator[str]:
    """Start moto's server in a process of its own; yield its address."""
    with started("-c", _SERVER, stdin=subprocess.PIPE) as process:
        host, port = process.stdout.readline().split()
        yield f"http://{host}:{port}"


def make_bucket(service: str) -> str:
    """Make an empty bucket, and return its name."""
    name = f"tissue{next(_numbers)}"  # Google's client writes - as %2D, which moto does not read
    urllib.request.urlopen(urllib.request.Request(f"{service}/{name}", method="PUT")).close()
    return name


def variables(service: str) -> dict[str, str]:
    """Return the environment in which the service is found, and lets one in."""
    return {
        "AWS_ENDPOINT_URL": service,
        "AWS_ACCESS_KEY_ID": "AKIATESTS",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def google_key(service: str) -> str:
    """Return the key of a service account that finds its buckets at the service.

    moto takes it: Google's XML interface, which obstore uses, has the requests of S3.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "tests@example.org",
            "private_key_id": "tests",
            "private_key": pem.decode(),
            "gcs_base_url": service,
        }
    )


def upload(folder: Path, address: str) -> None:
    """Copy a folder to an address."""
    store = open_bucket(address)
    for file in folder.rglob("*"):
        if file.is_file():
            store.put(file.relative_to(folder).as_posix(), file.read_bytes())


def open_bucket(address: str):
    """Open what is below an address with obstore itself."""
    from obstore.store import from_url

    return from_url(address, client_options={"allow_http": True})


def keys(address: str) -> list[str]:
    """List the objects below an address."""
    return sorted(each["path"] for each in open_bucket(address).list().collect())


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        self.server.requested.append(self.path)

    def do_GET(self) -> None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not (wanted and path.is_file() and self.server.sends_parts):
            super().do_GET()
            return
        data = path.read_bytes()
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()
        start = int(first) if first else len(data) - int(last)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])


@contextlib.contextmanager
def web_server(folder: Path, *, sends_parts: bool = True) -> Iterator[str]:
    """Serve a folder; yield the address."""

    def handler(*arguments: object) -> _Handler:
        return _Handler(*arguments, directory=str(folder))

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requested, server.sends_parts = [], sends_parts
        server.daemon_threads, server.handle_error = True, lambda *_: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
