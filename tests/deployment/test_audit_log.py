import json
import os
from pathlib import Path

import pytest

from hemabridge.deployment.audit_log import FIRST, AuditLog, check_chain
from hemabridge.errors import RunError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append([{"event": "started"}])
    log.append([{"event": "image", "path": f"café-{number}.png"} for number in range(4)])
    return tmp_path / "audit.jsonl"


def test_entries_are_chained_and_a_later_log_goes_on(path: Path) -> None:
    entries = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert [entry["previous"] for entry in entries] == [FIRST, *(entry["hash"] for entry in entries[:-1])]
    log = AuditLog(path)
    assert [entry["event"] for entry in log.earlier] == ["started", *["image"] * 4]
    log.append([{"event": "stopped"}])
    chain = check_chain(path)
    assert (chain.entries, chain.last, chain.torn) == (6, log.chain.last, 0)


def test_each_changed_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            chain = check_chain(path)
        except RunError:
            continue
        unnoticed.append((place, chain.entries, chain.torn))
    # Only the end of the last line: the entry then counts as one that was not finished.
    assert [each for each in unnoticed if each[2] == 0] == []
    assert [each[0] for each in unnoticed] == [len(whole) - 1]


@pytest.mark.parametrize("what", ["removed", "inserted", "swapped", "written again"])
def test_changed_lines_are_noticed(what: str, path: Path) -> None:
    lines = path.read_text(encoding="ascii").splitlines()
    other = json.loads(lines[1])
    other["path"] = "other.png"
    changed = {
        "removed": [lines[0], *lines[2:]],
        "inserted": [lines[0], lines[1], *lines[1:]],
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
        "written again": [lines[0], json.dumps(other), *lines[2:]],
    }[what]
    path.write_text("\n".join(changed) + "\n", encoding="ascii")
    with pytest.raises(RunError, match="expected the entries of an audit log as they were written, got another entry"):
        AuditLog(path)


def test_an_unfinished_entry_of_a_killed_process_is_removed_and_that_is_logged(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"n": 6, "ti')
    assert check_chain(path).torn == 12
    AuditLog(path)
    assert json.loads(path.read_text(encoding="ascii").splitlines()[-1])["removed_bytes"] == 12
    assert check_chain(path).torn == 0


def test_nothing_counts_of_what_a_full_disk_did_not_take(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, whole = AuditLog(path), path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            log.append([{"event": "image"}])
    assert path.read_bytes() == whole
    log.append([{"event": "image"}])
    assert check_chain(path).entries == 6


@pytest.mark.parametrize("torn", [0, 7])
def test_a_stop_while_an_entry_is_written_breaks_no_chain(
    path: Path, torn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(path)

    def stopped(handle: int) -> None:
        os.truncate(handle, os.fstat(handle).st_size - torn)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", stopped)
        with pytest.raises(KeyboardInterrupt):
            log.append([{"event": "image"}, {"event": "batch"}])
    log.append([{"event": "stopped"}])
    chain = check_chain(path)
    assert (chain.entries, chain.last, chain.torn) == (7 if torn else 8, log.chain.last, 0)


def test_a_link_in_the_place_of_the_log_is_refused(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(RunError, match="got a link"):
        AuditLog(path).append([{"event": "image"}])
