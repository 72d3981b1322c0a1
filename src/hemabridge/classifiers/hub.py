"""Downloads from the Hugging Face hub, with limits of time and size, and a check of the stated hash."""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]
from timm.models import PretrainedCfg

from hemabridge.errors import ModelError
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import sha256_of

FILE = "model.safetensors"
"""The file that is downloaded; never `pytorch_model.bin`, which is a pickle."""
_ANSWER_SECONDS = 2.0
_ASKING_SECONDS = 2.5  # includes the look-up of the address, which the connection's timeout does not cover
_TIMES_RECEIVED = 3  # the received data may be this many times the file, for interrupted connections
_SHA256 = re.compile("[0-9a-f]{64}")
_GIT_SHA1 = re.compile("[0-9a-f]{40}")
_FAILURES = (
    hub_errors.HTTPError,  # type: ignore[attr-defined]  # of the HTTP library in use
    hub_errors.FileMetadataError,
    hub_errors.LocalEntryNotFoundError,
    OSError,
)


@dataclass(frozen=True)
class HubFile:
    """A file of the hub in the local cache.

    Attributes:
        path: path of the file.
        origin: `repository/file@commit`.
    """

    path: Path
    origin: str


def download_weights(cfg: PretrainedCfg, progress: Progress = silent) -> HubFile:
    """Return the local copy of timm's weights for a model, asking the Hugging Face hub if there is none yet.

    If the hub does not answer within 3 seconds, the download fails. The file must have the size and the hash that the
    hub states. At most three times its size is received.

    Raises:
        ModelError: timm has no hub repository for it, the hub cannot be reached or has no safetensors for it, or the
            received file is not the one that the hub stated.
    """
    name = f"{cfg.architecture}.{cfg.tag}" if cfg.tag else str(cfg.architecture)
    repository = cfg.hf_hub_id
    if not repository:
        raise ModelError(f"expected a model with weights on the Hugging Face hub, got {name}; give weights as a file")
    kept = try_to_load_from_cache(repository, FILE)
    if isinstance(kept, str):
        path = Path(kept)
        _check_hash(path, path.resolve().name, path)  # the cache names files by hash, and folders by commit
        return HubFile(path, _origin(repository, path))
    path = _fetch(repository, progress)
    return HubFile(path, _origin(repository, path))


def _origin(repository: str, path: Path) -> str:
    return f"{repository}/{FILE}@{path.parent.name}"


def _fetch(repository: str, progress: Progress) -> Path:
    url = hf_hub_url(repository, FILE)
    constants.HF_HUB_DISABLE_TELEMETRY = True  # only the file is requested, and nothing is reported
    try:
        stated = _within(_ASKING_SECONDS, lambda: get_hf_file_metadata(url, timeout=_ANSWER_SECONDS))
        size, told = _described(stated, url)
        progress(told, 0, size)
        bar = _bar(size, url, lambda held: progress(told, held, size))
        path = Path(hf_hub_download(repository, FILE, etag_timeout=_ANSWER_SECONDS, tqdm_class=bar))
    except _FAILURES as error:
        raise ModelError(
            f"expected to download {repository}/{FILE}, could not ({type(error).__name__}: {error}); "
            "fetch that file on a machine with a network and give its path as weights"
        ) from error
    _check_hash(path, str(stated.etag), url)
    progress(told, size, size)
    return path


def _within(seconds: float, ask: Callable[[], HfFileMetadata]) -> HfFileMetadata:
    """Return the result of `ask`, which runs in a daemon thread.

    Raises:
        TimeoutError: it takes longer than `seconds`.
    """
    answers: list[HfFileMetadata | Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except _FAILURES as error:  # raised again in the thread of the caller
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise TimeoutError(f"no answer within {seconds} s")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _described(stated: HfFileMetadata, url: str) -> tuple[int, str]:
    """Return the size of a file, and the message before its download."""
    commit, size, etag = stated.commit_hash, stated.size, str(stated.etag)
    if commit is None or size is None or not (_SHA256.fullmatch(etag) or _GIT_SHA1.fullmatch(etag)):
        raise ModelError(
            f"expected commit, size and hash of {url}, got commit {commit}, size {size} and hash {stated.etag}: "
            "this is no answer of a Hugging Face hub; check HF_ENDPOINT and the proxy, or give weights as a file"
        )
    return size, f"downloading {url} (commit {commit}, {size} bytes, hash {etag})"


def _bar(size: int, url: str, tell: Callable[[int], None]) -> type[tqdm]:
    """Return a progress bar that limits the received bytes: the hub's library retries broken connections forever."""

    class Bar(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            self.in_file = not str(settings.get("name")).endswith(".transfer")  # these bytes are reported twice
            self.held = self.received = 0
            super().__init__(*args, **settings | {"disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            count = int(n or 0)  # negative when the download of a file starts again
            if not self.in_file:
                return
            self.held += count
            self.received += max(0, count)
            if self.received > _TIMES_RECEIVED * size:
                raise ModelError(
                    f"expected {size} bytes of {url}, received {self.received}: the connection is cut again and again, "
                    "or the file is another one; fetch it on another machine and give its path as weights"
                )
            tell(min(self.held, size))

    return Bar


def _check_hash(path: Path, etag: str, origin: object) -> None:
    """Compare a file with its SHA-256, or with the git hash of a blob, which the hub states for small files."""
    if _SHA256.fullmatch(etag):
        got = sha256_of(path)
    elif _GIT_SHA1.fullmatch(etag):
        content = path.read_bytes()
        got = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    else:
        return  # a cache without links (on Windows) does not contain the hash
    if got != etag:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        kind = "SHA-256" if len(etag) == 64 else "git hash"
        raise ModelError(f"expected {kind} {etag} of {origin}, got {got}; the file was deleted, download it again")
