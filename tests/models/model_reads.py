"""Counts how often each file of a model is opened and hashed."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


class ModelReads:
    """Counts how often each file of a model is opened to be read, and its bytes are hashed, in each command.

    Use it as `with reads("study"): ...`, then `reads.check_once("study", files)`.
    """

    def __init__(self) -> None:
        self.opened: dict[str, Counter[Path]] = {}
        self.hashed: dict[str, Counter[str]] = {}

    @contextmanager
    def __call__(self, command: str) -> Iterator[None]:
        opened, hashed, plain = Counter[Path](), Counter[str](), hashlib.sha256

        def counting(data: bytes = b"", *, usedforsecurity: bool = True) -> object:
            made = plain(data, usedforsecurity=usedforsecurity)
            hashed[made.hexdigest()] += 1
            return made

        self.opened[command], self.hashed[command] = opened, hashed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hashlib, "sha256", counting)
            _COUNTING.append(opened)
            try:
                yield
            finally:
                _COUNTING[:] = [each for each in _COUNTING if each is not opened]

    def check_once(self, command: str, *expected: Path) -> None:
        """Make sure that no model was opened or hashed twice, and that those of `expected` were opened."""
        hashed, opened = self.hashed[command], self.check_opened_once(command, *expected)
        digests: dict[str, list[Path]] = {}
        for file in filter(Path.is_file, opened):
            digests.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), []).append(file)
        assert [files for digest, files in digests.items() if hashed[digest] > len(files)] == []

    def check_opened_once(self, command: str, *expected: Path) -> dict[Path, int]:
        """Make sure of the former alone; return how often each model was opened."""
        opened = dict(filter(_is_model, self.opened[command].items()))
        assert {file.resolve() for file in expected} - opened.keys() == set()
        assert {file: times for file, times in opened.items() if times > 1} == {}
        return opened

    def times(self, command: str, images: Sequence[Path]) -> list[int]:
        """Return how often each PNG was opened to be read."""
        return [self.opened[command][image.absolute()] for image in images]


def _is_model(opened: tuple[Path, int]) -> bool:
    file = opened[0]
    if file.suffix in (".json", ".png"):
        return file.suffix == ".json" and file.is_file() and '"source_glass"' in file.read_text(encoding="utf-8")
    return True


_COUNTING: list[Counter[Path]] = []


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _COUNTING and str(arguments[1]).startswith("r"):
        file = Path(str(arguments[0]))
        if file.suffix in (".safetensors", ".onnx", ".hemabridge", ".json", ".png"):
            for opened in _COUNTING:
                opened[file.absolute()] += 1


sys.addaudithook(_count)  # it stays until the process ends
