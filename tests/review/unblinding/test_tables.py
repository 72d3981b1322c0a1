import csv
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hemabridge.evaluation.reading import Reading
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.unblind import Circumstances, unblind
from hemabridge.review.unblinded_tables import tables_of
from hemabridge.selection.readers import read_reader_scores

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def items(items_of: MakeItems) -> list[Item]:
    return items_of(Question.STAIN, Question.MORPHOLOGY, cells=6, repeats=4)


@pytest.fixture(scope="module")
def verdicts(items: list[Item], read: Read) -> list[Verdict]:
    def says(item: Item, rng: np.random.Generator) -> str:
        return str(rng.integers(1, 6)) if item.question is Question.STAIN else str(rng.choice(["unchanged", "changed"]))

    return read("Ana", items, says) + read("=SUM(A1)", items, says, seed=1)


@pytest.fixture(scope="module")
def reading(items: list[Item], verdicts: list[Verdict]) -> Reading:
    return unblind("lab", items, verdicts, Circumstances(("Ana", "=SUM(A1)")), draws=50)


def test_every_verdict_stands_beside_its_arms(items: list[Item], verdicts: list[Verdict], reading: Reading) -> None:
    found = rows(tables_of(reading, items, verdicts)["verdicts.csv"])
    assert len(found) == len(verdicts)
    key = {item.item: item for item in items}
    for row, verdict in zip(found, verdicts, strict=True):
        item = key[verdict.item]
        assert (row["answer"], row["arm"], row["cell"]) == (verdict.answer, item.arms[0], item.cell)
        assert row["second_arm"] == (item.arms[1] if item.question is Question.MORPHOLOGY else "")
        assert (row["x"], row["y"]) == (("0.25", "0.5") if verdict.answer == "changed" else ("", ""))
        assert float(row["seconds"]) == verdict.seconds
    assert {row["practice"] for row in found} == {"True", "False"}
    assert sum(bool(row["repeat_of"]) for row in found) == 8


def test_no_name_is_a_formula(items: list[Item], verdicts: list[Verdict], reading: Reading) -> None:
    found = rows(tables_of(reading, items, verdicts)["verdicts.csv"])
    assert {row["reader"] for row in found} == {"Ana", "'=SUM(A1)"}


def test_numbers_are_those_of_the_results(items: list[Item], verdicts: list[Verdict], reading: Reading) -> None:
    tables = tables_of(reading, items, verdicts)
    assert set(tables) == {
        *("verdicts.csv", "agreement.csv", "repeats.csv", "arms.csv", "sessions.csv", "trends.csv", "reader-scores.csv")
    }
    first, found = rows(tables["agreement.csv"])[0], reading.agreement[0]
    assert first["readers"] == "'=SUM(A1); Ana"
    assert float(first["cohen"]) == found.cohen.value
    assert found.weighted is not None
    assert found.weighted.interval is not None
    assert (float(first["weighted_low"]), float(first["weighted_high"])) == found.weighted.interval
    for row, score in zip(rows(tables["arms.csv"]), reading.scores, strict=True):
        assert (float(row["share"]), row["arm"], int(row["n"])) == (score.share, score.arm, score.n)
        difference = None if score.difference is None else score.difference.value
        assert (float(row["difference"]) if row["difference"] else None) == difference
    for row, stretch in zip(rows(tables["sessions.csv"]), reading.stretches, strict=True):
        assert float(row["seconds_median"]) == stretch.seconds[1]


def test_selection_reads_the_scores(items: list[Item], verdicts: list[Verdict], reading: Reading, tmp_path) -> None:
    (tmp_path / "scores.csv").write_text(tables_of(reading, items, verdicts)["reader-scores.csv"], encoding="utf-8")
    found = read_reader_scores(tmp_path / "scores.csv", ["epoch-0005", "epoch-0010", "epoch-0020"])
    assert found == {one.snapshot: one.accepted for one in reading.acceptance}
    assert set(found) == {"epoch-0010", "epoch-0020"}


def test_without_snapshots_there_are_no_scores(items: list[Item], verdicts: list[Verdict]) -> None:
    def renamed(item: Item) -> Item:
        return replace(item, arms=tuple(arm.replace("epoch-", "method ") for arm in item.arms))

    other = [renamed(item) for item in items]
    tables = tables_of(unblind("lab", other, verdicts, Circumstances(("Ana",)), draws=20), other, verdicts)
    assert "reader-scores.csv" not in tables
