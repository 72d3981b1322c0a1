from pathlib import Path

import pytest

from hemabridge.errors import InputError
from hemabridge.selection.readers import LARGEST_FILE, read_reader_scores

NAMES = ("epoch-0001", "epoch-0002")


def written(folder: Path, text: str) -> Path:
    path = folder / "readers.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_scores_are_read_with_a_spreadsheets_mark_too(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffsnapshot,accepted\nepoch-0002,0.75\n")
    assert read_reader_scores(path, NAMES) == {"epoch-0002": 0.75}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected the columns snapshot,accepted"),
        ("snapshot;accepted\n", "expected the columns"),
        ("snapshot,accepted\nepoch-0003,1\n", "epoch-0003"),
        ("snapshot,accepted\nepoch-0001,1\nepoch-0001,0\n", "at most once"),
        ("snapshot,accepted\nepoch-0001,1.5\n", "share from 0 to 1"),
        ("snapshot,accepted\nepoch-0001,nan\n", "share from 0 to 1"),
        ("snapshot,accepted\nepoch-0001,\n", "share from 0 to 1"),
        ("snapshot,accepted\nepoch-0001\n", "2 cells in each row"),
        ('snapshot,accepted\n"epoch-0001', "expected a CSV file"),
        ("x" * (LARGEST_FILE + 1), "bytes"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_reader_scores(written(tmp_path, text), NAMES)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "readers.csv").write_bytes(b"\xff\xff")
    for path in (tmp_path / "readers.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="expected a CSV file with snapshot,accepted"):
            read_reader_scores(path, NAMES)
