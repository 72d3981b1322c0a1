import http.client
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from browser import free_port, served

from hemabridge.errors import InputError, RunError
from hemabridge.workflows.review.create import KEY, Created
from hemabridge.workflows.review.serve import review_serve, risk_of


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_addresses_of_this_computer_alone_bear_no_risk(host: str) -> None:
    assert risk_of(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "lab-server", "localhost.example.org"])
def test_the_risk_of_other_addresses_is_told(host: str) -> None:
    assert risk_of(host).startswith(f"{host} can be reached from other computers.")
    assert "not encrypted" in risk_of(host)


def never(_address: str) -> None:
    raise AssertionError("it must not listen")


def test_a_folder_that_is_no_review_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a folder of `hemabridge review create`"):
        review_serve(tmp_path, host="127.0.0.1", port=0, ready=never)
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_cannot_be_listened_on_is_told(created: Created) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="Address already in use"):
            review_serve(created.out, host="127.0.0.1", port=taken.getsockname()[1], ready=never)
    with pytest.raises(InputError, match="choose another"):
        review_serve(created.out, host="no such host", port=0, ready=never)


def ask(port: int, raw: bytes) -> int:
    """Send bytes as they are; return the status of the answer, 0 where the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(raw)
        answer = connection.recv(200)
    return int(answer.split()[1]) if answer else 0


@pytest.mark.slow
def test_the_server_survives_what_no_browser_sends_and_stops_cleanly(created: Created, tmp_path: Path) -> None:
    (created.out / KEY).unlink()
    port = free_port()
    token = created.links["Ben"].rstrip("/").rpartition("/")[2].encode()
    with served(created.out, port) as server:
        with pytest.raises(RunError, match="is in use"):
            review_serve(created.out, host="127.0.0.1", port=0, ready=never)
        assert ask(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") in (0, 400)
        assert ask(port, b"GET /r/" + b"a" * 100_000) in (0, 400, 431)
        assert ask(port, b"GET /r/" + token + b"/p/../../key.json HTTP/1.1\r\nHost: x\r\n\r\n") == 404
        assert ask(port, b"GET /r/" + token + b"/%00 HTTP/1.1\r\nHost: x\r\n\r\n") == 404
        assert (
            ask(port, b"POST /r/" + token + b"/read HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n") == 403
        )
        with socket.create_connection(("127.0.0.1", port), timeout=30) as leaving:
            form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nscreen="
            leaving.sendall(b"POST /r/" + token + b"/read HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n" + form)
        upgrade = b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert ask(port, b"GET /r/" + token + b"/" + upgrade) in (200, 400)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", f"/r/{token.decode()}/read")
        answer: Any = connection.getresponse()
        assert (answer.status, answer.headers["server"], b'id="answers"' in answer.read()) == (200, None, True)
        connection.close()
        assert server.stop(signal.SIGINT) == (0, "")
    assert stat.S_IMODE(created.out.stat().st_mode) == 0o700
