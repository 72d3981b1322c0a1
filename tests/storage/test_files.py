import errno
import os
from pathlib import Path

import pytest

from hemabridge.errors import InputError
from hemabridge.storage.files import sync_files, write_new
from hemabridge.storage.settings_file import read_toml


def test_a_byte_order_mark_in_a_recipe_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfname = 'x'\n")
    assert read_toml(tmp_path / "a.toml") == {"name": "x"}


def test_of_two_that_write_one_new_file_the_second_is_refused(tmp_path: Path) -> None:
    write_new(tmp_path / "new.json", b"first")
    with pytest.raises(InputError, match="expected a new file"):
        write_new(tmp_path / "new.json", b"second")
    assert (tmp_path / "new.json").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]


def test_a_file_that_could_not_be_written_to_the_disk_is_told_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}" for number in range(20)]
    for path in paths:
        path.write_bytes(b"held")
    bad, sync, synced = paths[7].stat().st_ino, os.fsync, []

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)
        synced.append(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="No space left"):
        sync_files(paths)
    sync_files(paths[:7])
    assert len(synced) >= 7 + 7
