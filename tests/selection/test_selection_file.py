import json
from pathlib import Path
from typing import Any

import pytest

from hemabridge.errors import InputError
from hemabridge.models.selection_file import Selection


def test_json_gives_back_what_was_written(selection: Selection, tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    path.write_text(selection.to_json(), encoding="utf-8")
    assert Selection.read(path) == selection
    assert json.loads(path.read_text())["format"] == 4


def test_a_row_is_found_by_name(selection: Selection) -> None:
    assert selection.row("epoch-0020").kept == 0.6
    with pytest.raises(LookupError):
        selection.row("original")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "something else"),
        ("[1]", "format 4, got None"),
        ("{}", "format 4, got None"),
        ('{"format": 1}', "format 4, got 1; run `hemabridge select RUN` again"),
        ('{"format": 4}', "something else"),
        ("[" * 100_000, "nested deeper than 64"),
    ],
)
def test_what_is_no_selection_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Selection.from_json(text)


def first_row(data: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = data["snapshots"][0]
    return row


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(chosen="epoch-0003"),
        lambda data: data.update(chosen="../../etc"),
        lambda data: data.update(alike=["epoch-0009"]),
        lambda data: data.update(more=1),
        lambda data: data.update(chosen=7),
        lambda data: data["snapshots"].append(data["snapshots"][0]),
        lambda data: first_row(data).update(stain="0.5"),
        lambda data: first_row(data).update(stain=float("nan")),
        lambda data: first_row(data).update(kept_interval=[0.5]),
        lambda data: first_row(data).pop("refused"),
        lambda data: first_row(data).pop("sha256"),
        lambda data: data.pop("original"),
    ],
)
def test_spoilt_json_is_refused(selection: Selection, spoil: Any) -> None:
    data = json.loads(selection.to_json())
    spoil(data)
    with pytest.raises(InputError, match="expected"):
        Selection.from_json(json.dumps(data))


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "selection.json").write_bytes(b"\xff\xfe{")
    for path in (tmp_path / "selection.json", tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match=r"expected selection\.json"):
            Selection.read(path)
