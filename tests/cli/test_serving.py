"""`hemabridge serve` on the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n", "got an empty one"), (b"\xff\xfe\xfa", "expected a file with the token, got"), (None, "got no file")],
)
def test_a_token_that_cannot_be_read_is_not_taken_for_none(
    content: bytes | None, message: str, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `openssl rand -hex 32 > token.txt` without openssl: the service may not be open to all then."""
    monkeypatch.setenv("HEMABRIDGE_TOKEN", "t" * 32)
    if content is not None:
        (tmp_path / "token.txt").write_bytes(content)
    ended = run("serve", tmp_path / "model.json", "--token-file", tmp_path / "token.txt")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
