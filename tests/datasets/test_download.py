"""Downloads from a host on this machine: what is tried again, what is refused, what is shown."""

import socket
import threading
from dataclasses import replace

import pytest
from localhost import Host, deliver, deliver_without_length, endless, hang_up, redirect

from sfseg.datasets.download import Patience, download, shown
from sfseg.errors import FetchError
from tests.processes import HANGS_S

BODY = bytes(range(256)) * 40
LIMIT = 2 * len(BODY)
HASTY = Patience(connect_s=0.5, stall_s=0.3, slowest_bytes_s=1000, pauses_s=(0.01, 0.01))
PATIENT = replace(HASTY, connect_s=HANGS_S, stall_s=HANGS_S)  # the machine may be busy


@pytest.fixture
def host():
    with Host() as host:
        yield host


def get(url, path, *, limit_bytes=LIMIT, progress=lambda *_: None, patience=PATIENT):
    download(url, path, limit_bytes=limit_bytes, progress=progress, patience=patience)
    return path.read_bytes()


def test_a_file_arrives_and_its_progress_is_reported(host, tmp_path):
    host.serve("a", deliver(BODY))
    seen = []
    assert get(host.url + "a", tmp_path / "a", progress=lambda *now: seen.append(now)) == BODY
    assert seen[-1] == ("a", len(BODY), len(BODY))


def test_a_host_need_not_announce_the_length(host, tmp_path):
    host.serve("a", deliver_without_length(BODY))
    assert get(host.url + "a", tmp_path / "a") == BODY


def test_a_redirect_on_this_machine_is_followed(host, tmp_path):
    host.serve("a", redirect("/b"))
    host.serve("b", deliver(BODY))
    assert get(host.url + "a", tmp_path / "a") == BODY


@pytest.mark.parametrize(
    "bad", [deliver(b"", status=503), hang_up, deliver(BODY[:100], announce=len(BODY))]
)
def test_a_failure_that_may_pass_is_tried_again(host, tmp_path, bad):
    host.serve("a", bad, bad, deliver(BODY))
    assert get(host.url + "a", tmp_path / "a") == BODY
    assert host.requests == ["a"] * 3


def test_the_number_of_attempts_is_that_of_the_pauses(host, tmp_path):
    host.serve("a", deliver(b"", status=503))
    with pytest.raises(FetchError, match="the host answered with status 503"):
        get(host.url + "a", tmp_path / "a")
    assert host.requests == ["a"] * 3


@pytest.mark.parametrize("status", [206, 304, 403, 404])
def test_a_final_answer_without_a_file_is_not_tried_again(host, tmp_path, status):
    host.serve("a", deliver(BODY if status == 206 else b"", status=status))
    with pytest.raises(FetchError, match=f"the host answered with status {status}"):
        get(host.url + "a", tmp_path / "a")
    assert host.requests == ["a"]


def test_redirects_in_a_circle_end(host, tmp_path):
    host.serve("a", redirect("/b"))
    host.serve("b", redirect("/a"))
    with pytest.raises(FetchError, match="more than 5 redirects"):
        get(host.url + "a", tmp_path / "a")


@pytest.mark.parametrize(
    "elsewhere",
    ["http://example.org/a", "ftp://localhost/a", "file:///etc/passwd", "http://127.0.0.1.evil/a"],
)
def test_a_redirect_away_from_https_is_refused_without_a_connection(host, tmp_path, elsewhere):
    host.serve("a", redirect(elsewhere))  # a connection fails the test: see conftest
    with pytest.raises(FetchError, match="only https addresses are allowed"):
        get(host.url + "a", tmp_path / "a")


def test_a_redirect_to_an_invalid_address_is_refused(host, tmp_path):
    host.serve("a", redirect("http://[oops/"))
    with pytest.raises(FetchError, match="this is not an address"):
        get(host.url + "a", tmp_path / "a")


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://example.org/a", "a.tif", "http:a"])
def test_an_address_without_https_is_refused_without_a_connection(tmp_path, url):
    with pytest.raises(FetchError, match="only https addresses are allowed"):
        get(url, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_body_that_is_announced_too_large_is_not_read(host, tmp_path):
    host.serve("a", deliver(BODY * 10))
    with pytest.raises(FetchError, match="too large: 102,400 bytes, at most"):
        get(host.url + "a", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size == 0


def test_a_download_that_grows_too_large_is_stopped(host, tmp_path):
    host.serve("a", deliver_without_length(BODY * 100))
    with pytest.raises(FetchError, match="too large: at most"):
        get(host.url + "a", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size <= LIMIT


def test_a_silent_host_is_left_after_the_stall_time(host, tmp_path):
    host.serve("a", host.stall(BODY))
    with pytest.raises(FetchError, match="in time"):
        get(host.url + "a", tmp_path / "a", patience=HASTY)
    assert not host.ended.is_set()  # it would be silent still


def test_a_host_that_sends_a_byte_at_a_time_is_left_as_well(host, tmp_path):
    host.serve("a", host.trickle(0.05))
    with pytest.raises(FetchError, match=r"too slow: stopped after [\d,]+ bytes"):
        get(host.url + "a", tmp_path / "a", patience=HASTY)
    assert not host.ended.is_set()


def test_a_host_that_is_not_there_is_said_to_be_so(tmp_path):
    with Host() as host:
        url = host.url + "a"
    with pytest.raises(FetchError, match="no answer: Connection refused"):
        get(url, tmp_path / "a")


def test_without_a_name_server_the_question_is_whether_you_are_online(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    url = "https://me:secret@data.example/a"
    with pytest.raises(FetchError) as caught:
        get(url, tmp_path / "a")
    assert caught.value.message == (
        "https://data.example/a: no connection to data.example (are you online?)"
    )


def test_a_password_in_an_address_is_never_shown(host, tmp_path):
    url = host.url.replace("http://", "http://me:secret@") + "a?token=secret"
    assert shown(url) == host.url + "a"
    with pytest.raises(FetchError) as caught:
        get(url, tmp_path / "a")
    assert "secret" not in str(caught.value)


def test_the_body_of_a_redirect_is_not_read(host, tmp_path):
    host.serve("a", endless(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", bytes(1 << 16)))
    host.serve("b", deliver(BODY))
    assert get(host.url + "a", tmp_path / "a") == BODY


def test_an_address_that_two_parsers_read_differently_is_refused(host, tmp_path):
    host.serve("a", redirect("http://example.org\\@127.0.0.1/a"))  # example.org, says urllib3
    with pytest.raises(FetchError, match="only https addresses are allowed"):
        get(host.url + "a", tmp_path / "a")


def test_control_codes_from_a_host_are_not_shown(host, tmp_path):
    host.serve("a", redirect("http://\x1b]0;evil\x07/a"))
    with pytest.raises(FetchError) as caught:
        get(host.url + "a", tmp_path / "a")
    assert caught.value.message.isprintable()


def test_no_proxy_is_asked_for_what_is_on_this_machine(host, tmp_path, monkeypatch):
    host.serve("a", deliver(BODY))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(host.url + "a", tmp_path / "a") == BODY


def test_a_download_leaves_no_thread(host, tmp_path):
    host.serve("a", deliver(BODY))
    get(host.url + "a", tmp_path / "a")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch")]
