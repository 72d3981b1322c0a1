import copy
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hemabridge.errors import InputError
from hemabridge.evaluation.results import (
    CellVerdict,
    Closeness,
    Confusion,
    MorphologyCheck,
    PairedTest,
    Row,
    StudyResults,
)

RESULTS = StudyResults(
    name="small",
    classes=("blast", "monocyte"),
    rows=(
        Row(
            "a",
            "test",
            "r18",
            "original",
            None,
            0,
            4,
            0.5,
            0.5,
            {"blast": 0.5, "monocyte": None},
            (0.15, 0.85),
            "none",
            1,
        ),
        Row("a", "test", "r18", "cyclegan", "010", 0, 4, 1, 1.0, {"blast": 1, "monocyte": None}, (0.5, 1), "strict", 1),
    ),
    paired=(PairedTest("a", "r18", "cyclegan", "010", 0, 2, 0, 0.5, 0.5),),
    confusions=(Confusion("a", "r18", "original", None, 0, ("blast", "monocyte"), ((2, 2), (0, 0))),),
    closeness=(Closeness("cyclegan", "010", 4, 25.5, 3.25),),
    guard=(
        MorphologyCheck(
            "cyclegan",
            "010",
            2,
            1,
            0,
            1,
            {"residual": 1, "lobe_change": 1},
            40,
            (CellVerdict("a.png", "pass", (), 0.4), CellVerdict("b.png", "refuse", ("residual", "lobe_change"), 1.5)),
        ),
    ),
    facts={"images seen": {"cyclegan": 1200}, "versions": ["1", "2"], "note": None},
)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_results_survive_json() -> None:
    assert StudyResults.from_json(RESULTS.to_json()) == RESULTS


def test_results_of_before_the_guard_are_read(validator: Draft202012Validator) -> None:
    old = json.loads(RESULTS.to_json())
    del old["guard"]
    assert validator.is_valid(old)
    assert StudyResults.from_json(json.dumps(old)) == replace(RESULTS, guard=())


def test_results_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(RESULTS.to_json(), encoding="utf-8")
    assert StudyResults.read(path) == RESULTS
    with pytest.raises(InputError, match=r"missing\.json"):
        StudyResults.read(tmp_path / "missing.json")


def test_the_published_schema_accepts_what_is_written(validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(json.loads(RESULTS.to_json()))] == []


def change_row(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["rows"][0].update(changes)


BREAKAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no rows": lambda data: data.pop("rows"),
    "no format": lambda data: data.pop("format"),
    "another format": lambda data: data.update(format=2),
    "a key too many": lambda data: data.update(extra=1),
    "a row without its mode": lambda data: data["rows"][0].pop("mode"),
    "a row with a key too many": change_row(threshold=0.5),
    "a number as text": change_row(accuracy="0.5"),
    "an unknown mode": change_row(mode="lenient"),
    "an interval of one number": change_row(interval=[0.1]),
    "an interval of three numbers": change_row(interval=[0.1, 0.2, 0.3]),
    "no interval": change_row(interval=None),
    "a recall as text": change_row(recall={"blast": "high"}),
    "a snapshot as number": change_row(snapshot=10),
    "a cell count as fraction": change_row(n=4.5),
    "a seed of nothing": change_row(seed=None),
    "a confusion with half a cell": lambda data: data["confusions"][0].update(counts=[[0.5, 1], [0, 0]]),
    "an unknown verdict": lambda data: data["guard"][0]["cells"][0].update(verdict="maybe"),
    "a guard without its limits": lambda data: data["guard"][0].pop("limits_from"),
    "half a refused cell": lambda data: data["guard"][0].update(refused=0.5),
    "a paired test without its p": lambda data: data["paired"][0].pop("p"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_schema_and_reader_refuse_broken_results(name: str, validator: Draft202012Validator) -> None:
    broken = copy.deepcopy(json.loads(RESULTS.to_json()))
    BREAKAGES[name](broken)
    assert not validator.is_valid(broken)
    with pytest.raises(InputError, match="expected"):
        StudyResults.from_json(json.dumps(broken))


@pytest.mark.parametrize("changes", [{"accuracy": 1.2}, {"n": 0}, {"part": "holdout"}, {"recall": {}}, {"images": ""}])
def test_schema_refuses_values_out_of_range(changes: dict[str, Any], validator: Draft202012Validator) -> None:
    broken = json.loads(RESULTS.to_json())
    broken["rows"][0].update(changes)
    assert not validator.is_valid(broken)


@pytest.mark.parametrize("text", ["", "[]", "null", "7", '{"format": 1}', '{"format": NaN}'])
def test_reader_refuses_what_is_no_study(text: str) -> None:
    with pytest.raises(InputError, match="expected"):
        StudyResults.from_json(text)


def test_reader_refuses_nan() -> None:
    with pytest.raises(InputError, match="finite"):
        StudyResults.from_json(RESULTS.to_json().replace("25.5", "NaN"))
