"""Weights from a loopback server that speaks the Hugging Face hub's protocol."""

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import huggingface_hub
import pytest
import timm
from huggingface_hub import constants, file_download
from lightning_fabric import Fabric
from safetensors.torch import save

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.data.cells import CellSet
from hemabridge.errors import ModelError
from hemabridge.training.tensorfile import read_header

Ask: TypeAlias = Callable[[int], str]
MakeCells: TypeAlias = Callable[..., CellSet]

PATH = "/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"
COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Serves one file; the flags say what goes wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = save(timm.create_model("test_efficientnet", num_classes=1000).state_dict())
        self.digest = hashlib.sha256(self.content).hexdigest()
        self.stated = self.digest
        self.size = len(self.content)
        self.sent = 0
        self.short = False
        self.endless = False
        self.ranges = True
        self.page = b""
        self.status = 200
        self.cuts = 0
        self.path = PATH
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """HEAD and GET of `resolve`."""

    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server
        hub.asked.append(f"{self.command} {self.path}")
        if self.path != hub.path:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if hub.page:
            self.send_response(hub.status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(hub.page)))
            self.end_headers()
            self.wfile.write(hub.page if self.command == "GET" else b"")
            return
        asked_from = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if hub.ranges else None
        first = int(asked_from[1]) if asked_from else 0
        body = hub.content[first:]
        if hub.short and self.command == "GET":
            body = body[: len(body) // 2]
        self.send_response(206 if asked_from else 200)
        if asked_from:
            self.send_header("Content-Range", f"bytes {first}-{len(hub.content) - 1}/{len(hub.content)}")
        self.send_header("ETag", f'"{hub.stated}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(hub.size))
        if not hub.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self._send(body)

    def _send(self, body: bytes) -> None:
        hub = self.server
        self.close_connection = True
        cut = hub.cuts > 0
        hub.cuts -= cut
        try:
            self.wfile.write(body[: len(body) // 2] if cut else body)
            while hub.endless:
                hub.sent += self.wfile.write(bytes(1 << 14))
        except OSError:
            return  # the other side has had enough

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Ask a hub at this port for weights, without waiting between two attempts; return what was told, line by line."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    huggingface_hub.close_session()

    def asked(port: int) -> str:
        endpoint = f"http://127.0.0.1:{port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
        network = new_network("test_efficientnet", 32, 2)
        lines: list[str] = []
        start = time.monotonic()
        try:
            told = load_start(
                network, "test_efficientnet", "download", lambda *work: lines.append(" ".join(map(str, work)))
            )
            lines.append(f"start {told.sha256} {told.origin}")
        except ModelError as error:
            lines.append(f"ModelError: {error}")
        return "\n".join([*lines, f"seconds {time.monotonic() - start}"])

    yield asked
    huggingface_hub.close_session()


def started(hub: Hub) -> str:
    return f"start {hub.digest} timm/test_efficientnet.r160_in1k/model.safetensors@{COMMIT}"


def nothing_kept(home: Path) -> bool:
    """Whether neither a file nor a part of one is left."""
    return not [path for path in home.rglob("*") if path.name == "model.safetensors" or path.suffix == ".incomplete"]


def test_a_download_tells_what_it_gets_and_is_asked_for_once(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    size = len(hub.content)
    told = ask(hub.server_port).splitlines()
    assert told[0].endswith(f"{PATH} (commit {COMMIT}, {size} bytes, hash {hub.digest}) 0 {size}")
    held = [int(line.split()[-2]) for line in told if line.startswith("downloading")]
    assert held == sorted(held)
    assert (held[-1], len(held) > 10) == (size, True)
    assert started(hub) in told
    assert [line for line in hub.asked if not line.endswith(PATH)] == []
    hub.asked.clear()
    assert ask(hub.server_port).splitlines()[0] == started(hub)
    assert hub.asked == []


def test_a_wrong_hash_is_refused_and_the_file_deleted(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.stated = "0" * 64
    assert f"ModelError: expected SHA-256 {'0' * 64}" in ask(hub.server_port)
    assert nothing_kept(tmp_path)
    hub.stated = hub.digest
    assert started(hub) in ask(hub.server_port)


@pytest.mark.parametrize("right", [True, False])
def test_the_hash_of_git_is_checked_too(ask: Ask, hub: Hub, tmp_path: Path, right: bool) -> None:
    blob = f"blob {len(hub.content)}\0".encode() + hub.content
    hub.stated = hashlib.sha1(blob).hexdigest() if right else "0" * 40
    told = ask(hub.server_port)
    assert (started(hub) in told) == right
    assert (f"ModelError: expected git hash {'0' * 40}" in told) == (not right)


def test_a_file_that_changed_in_the_cache_is_refused_and_fetched_again(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    ask(hub.server_port)
    [kept] = tmp_path.rglob("snapshots/*/model.safetensors")
    kept.resolve().write_bytes(hub.content[:-1] + b"\1")
    assert f"ModelError: expected SHA-256 {hub.digest}" in ask(hub.server_port)
    assert started(hub) in ask(hub.server_port)


def test_half_a_file_is_refused(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.short = True
    told = ask(hub.server_port)
    assert "ModelError: expected to download timm/test_efficientnet.r160_in1k/model.safetensors" in told
    assert "give its path as weights" in told
    assert nothing_kept(tmp_path)


def test_a_cut_connection_goes_on_where_it_was_cut(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.cuts = 1
    assert started(hub) in ask(hub.server_port)
    assert sum(line.startswith("GET") for line in hub.asked) == 2


def test_a_connection_that_is_always_cut_is_given_up(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.cuts, hub.ranges = 1000, False  # a server that starts again each time: the library would try for ever
    told = ask(hub.server_port)
    assert f"ModelError: expected {len(hub.content)} bytes of http://" in told
    assert "the connection is cut again and again" in told
    assert sum(line.startswith("GET") for line in hub.asked) == 7  # three times the size in halves, and one piece
    assert nothing_kept(tmp_path)


def test_more_bytes_than_stated_are_refused(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.size -= 1000
    told = ask(hub.server_port)
    assert f"file should be of size {hub.size} but has size {len(hub.content)}" in told
    assert nothing_kept(tmp_path)


def test_an_endless_answer_does_not_fill_the_disk(ask: Ask, hub: Hub, tmp_path: Path) -> None:
    hub.endless = True
    told = ask(hub.server_port)
    assert f"ModelError: expected {len(hub.content)} bytes of http://" in told
    assert nothing_kept(tmp_path)
    assert hub.sent < 3 * len(hub.content) + (64 << 20)  # what the two sockets hold comes on top


@pytest.mark.parametrize(("status", "message"), [(200, "expected commit, size and hash of http"), (503, "503")])
def test_a_page_that_is_no_answer_of_a_hub_is_refused(
    ask: Ask, hub: Hub, tmp_path: Path, status: int, message: str
) -> None:
    hub.page, hub.status = b"<html>Sign in to the network of the hospital</html>", status
    told = ask(hub.server_port)
    assert "ModelError: " in told
    assert message in told
    assert not any(line.startswith("GET") for line in hub.asked)
    assert float(told.split("seconds ")[1]) < 3


def test_a_repository_without_safetensors_is_refused_without_asking_for_a_pickle(
    ask: Ask, hub: Hub, tmp_path: Path
) -> None:
    hub.path = PATH.replace("model.safetensors", "pytorch_model.bin")
    told = ask(hub.server_port)
    assert "ModelError: expected to download" in told
    assert "404" in told
    assert not any("pytorch_model" in line for line in hub.asked)


def test_without_a_network_the_error_comes_within_three_seconds(ask: Ask) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        told = ask(closed.getsockname()[1])
    assert "ModelError: expected to download" in told
    assert float(told.split("seconds ")[1]) < 3


def test_a_hub_that_never_answers_is_given_up_within_three_seconds(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        told = ask(mute.getsockname()[1])
    assert "ModelError: expected to download" in told
    assert float(told.split("seconds ")[1]) < 3


def test_a_look_up_of_the_address_that_hangs_is_given_up_within_three_seconds(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()

    def hanging(*_: object, **__: object) -> None:
        waits.wait(60)
        raise OSError("the look-up hung")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    told = ask(9)
    waits.set()
    assert "ModelError: expected to download" in told
    assert "no answer within 2.5 s" in told
    assert float(told.split("seconds ")[1]) < 3


def test_a_classifier_says_which_commit_its_weights_are_of(
    ask: Ask, hub: Hub, tmp_path: Path, easy_cells: MakeCells, cpu: Fabric
) -> None:
    ask(hub.server_port)
    config = ClassifierConfig(
        architecture="test_efficientnet", weights="download", size_px=32, epochs=1, frozen_epochs=0, learning_rate=1e-3
    )
    header = read_header(fine_tune(config, easy_cells(16), tmp_path / "run", cpu, seed=0))
    assert header["weights_sha256"] == hub.digest
    assert header["weights_origin"] == f"timm/test_efficientnet.r160_in1k/model.safetensors@{COMMIT}"
