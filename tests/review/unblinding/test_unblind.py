from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import InputError, RunError
from hemabridge.evaluation.reading import Reading
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.unblind import Circumstances, unblind

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]
SAYS = {
    Question.LABORATORY: ("target", "other"),
    Question.ARTIFICIAL: ("real", "artificial"),
    Question.STAIN: ("2", "4", "5"),
    Question.STAIN_FAULTS: ("", "nucleus", "cytoplasm,granules"),
    Question.MORPHOLOGY: ("unchanged", "unchanged", "changed"),
    Question.CELL_TYPE: ("blast", "neutrophil", "unsure"),
    Question.PREFERENCE: ("left", "right", "equal"),
}


def guesses(item: Item, rng: np.random.Generator) -> str:
    return str(rng.choice(SAYS[item.question]))


@pytest.fixture(scope="module")
def items(items_of: MakeItems) -> list[Item]:
    return items_of(*Question, cells=6, repeats=8)


@pytest.fixture(scope="module")
def reading(items: list[Item], read: Read) -> Reading:
    verdicts = [v for seed, name in enumerate(("Ana", "Ben", "Cem")) for v in read(name, items, guesses, seed=seed)]
    return unblind(
        "lab", items, verdicts, Circumstances(("Ana", "Ben", "Cem", "Dee")), facts={"version": "x"}, draws=100
    )


def test_everything_that_was_asked_is_in_the_results(reading: Reading) -> None:
    assert (reading.name, reading.readers, reading.silent) == ("lab", ("Ana", "Ben", "Cem"), ("Dee",))
    assert reading.arms == ("original", "epoch-0010", "epoch-0020", "target")
    assert {found.aspect.partition(":")[0] for found in reading.agreement} == {q.value for q in Question}
    assert {found.arm for found in reading.discrimination} == {"original", "epoch-0010", "epoch-0020"}
    assert {found.reader for found in reading.repeats} == {"Ana", "Ben", "Cem", None}
    assert len(reading.preferred) == 4
    assert len(reading.stretches) == 3 * 5
    assert {dispute.aspect.partition(":")[0] for dispute in reading.disputes} == {q.value for q in Question}
    assert reading.facts["version"] == "x"
    assert reading.facts["verdicts that count"] == 3 * (7 * 6 * 4 + 8)


def test_results_come_back_from_json(reading: Reading, tmp_path: Path) -> None:
    assert Reading.from_json(reading.to_json()) == reading
    (tmp_path / "unblinded.json").write_text(reading.to_json(), encoding="utf-8")
    assert Reading.read(tmp_path / "unblinded.json") == reading


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "of format 2, got None"),
        ("{", "got something else"),
        ('{"format": 1}', "of format 2, got 1"),
        ('{"format": 3}', "of format 2, got 3, which a newer hemabridge wrote"),
        ('{"format": 2, "name": 3}', "got something else"),
        ("[" * 100000, "nested deeper than 64"),
    ],
)
def test_other_json_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Reading.from_json(text)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got no file: .*unblinded\.json"):
        Reading.read(tmp_path / "unblinded.json")


def test_the_acceptance_of_snapshots_is_what_selection_is_told(reading: Reading) -> None:
    shares = {s.arm: s.share for s in reading.scores if s.measure == "accepted" and s.reader is None}
    assert set(shares) == {"original", "epoch-0010", "epoch-0020", "target"}
    assert {found.snapshot: found.accepted for found in reading.acceptance} == {
        "epoch-0010": shares["epoch-0010"],
        "epoch-0020": shares["epoch-0020"],
    }


def test_an_open_session_is_no_time_to_unblind_unless_told_why(items: list[Item], read: Read) -> None:
    verdicts = read("Ana", items, guesses)
    for reason in (None, "", "  "):
        with pytest.raises(RunError, match="'Ben', 'Cem'; wait for them, or give a reason with --despite") as caught:
            unblind("lab", items, verdicts, Circumstances(("Ana",), ("Ben", "Cem"), reason), draws=20)
        assert caught.value.exit_code == 2
    found = unblind("lab", items, verdicts, Circumstances(("Ana",), ("Ben",), " Ben left "), draws=20)
    assert (found.open_sessions, found.despite) == (("Ben",), "Ben left")
    assert unblind("lab", items, verdicts, Circumstances(("Ana",), (), "unneeded"), draws=20).despite is None


def test_practice_alone_is_nothing_to_unblind(items: list[Item], read: Read) -> None:
    with pytest.raises(RunError, match="got none outside of the practice round"):
        unblind("lab", items, read("Ana", items[:1], guesses), Circumstances(("Ana",)))


def test_the_same_verdicts_give_the_same_results(items: list[Item], read: Read) -> None:
    verdicts = read("Ana", items, guesses) + read("Ben", items, guesses, seed=4)
    first, again = (
        unblind("lab", items, order, Circumstances(("Ana",)), draws=50) for order in (verdicts, verdicts[::-1])
    )
    assert first.agreement == again.agreement
    assert first.repeats == again.repeats
    assert first.disputes == again.disputes
    assert first.stretches == again.stretches
