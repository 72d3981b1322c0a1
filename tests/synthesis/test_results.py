import json
from pathlib import Path

import pytest
from made_results import synthesis_of

from hemabridge.errors import InputError
from hemabridge.synthesis.pair_results import Share, SynthesisResults


def test_json_gives_back_what_was_written(tmp_path: Path) -> None:
    found = synthesis_of()
    path = tmp_path / "results.json"
    path.write_text(found.to_json(), encoding="utf-8")
    assert SynthesisResults.read(path) == found
    assert json.loads(path.read_text())["kind"] == "synthesis"


def test_a_share_is_a_fraction() -> None:
    assert Share(3, 4, (0.3, 0.9)).value == 0.75


def test_a_reader_is_shown_copies_and_the_nearest_cells_once_each() -> None:
    check = synthesis_of().pairs[0].directions[0].copies
    assert [copy.id for copy in check.shown()] == ["a/1.png", "a/2.png"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "something else"),
        ("[1]", "format 1, got None"),
        ('{"format": 1}', r"format 1, got 1 and kind None"),
        ('{"kind": "synthesis", "format": 2}', r"format 1, got 2, which a newer hemabridge wrote; update"),
        ('{"kind": "synthesis", "format": 1}', "something else"),
        ("[" * 100_000, "nested deeper than 64"),
    ],
)
def test_what_is_no_result_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        SynthesisResults.from_json(text)


@pytest.mark.parametrize("change", [{"extra": 1}, {"name": 5}, {"pairs": [{}]}])
def test_unknown_keys_and_other_types_are_refused(change: dict[str, object]) -> None:
    data = json.loads(synthesis_of().to_json()) | change
    with pytest.raises(InputError, match="something else"):
        SynthesisResults.from_json(json.dumps(data))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        SynthesisResults.read(tmp_path / "nowhere")
