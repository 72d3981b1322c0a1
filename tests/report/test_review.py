"""The report of a review, as HTML and in sentences."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemabridge.evaluation.reading import (
    Agreement,
    ArmScore,
    Dispute,
    Estimate,
    Preferred,
    Reading,
    Repeats,
    Said,
    Stretch,
    TellingApart,
    Trend,
)
from hemabridge.report import reading_story as story
from hemabridge.report.report import write_review_report

ARMS = ("original", "reinhard", "epoch-0015", "target")
SURE = Estimate(0.8, (0.7, 0.9))


def scores(measure: str, shares: Sequence[float], differences: Sequence[tuple[float, float] | None]) -> list[ArmScore]:
    """All readers' scores, and Ana's a little higher, of each arm."""
    found = []
    for arm, share, ends in zip(ARMS, shares, differences, strict=True):
        difference = None if ends is None else Estimate(sum(ends) / 2, ends)
        found.append(ArmScore(measure, arm, None, 40, 20, share, (share - 0.1, share + 0.1), difference))
        found.append(ArmScore(measure, arm, "Ana", 20, 20, share + 0.05, (share - 0.2, share + 0.2)))
    return found


def make_reading() -> Reading:
    said = (Said("Ana", "changed", (0.3, 0.4)), Said("Ben", "unchanged"))
    return Reading(
        name="lab",
        readers=("Ana", "Ben"),
        silent=(),
        open_sessions=(),
        despite=None,
        earlier=(),
        arms=ARMS,
        photographs=("original", "target"),
        agreement=(
            Agreement("stain", ("Ana", "Ben"), 80, 20, SURE, Estimate(0.5), Estimate(0.6), SURE, Estimate(0.7)),
        ),
        repeats=(Repeats("stain", None, 20, 10, Estimate(0.9), Estimate(0.7), Estimate(0.8)),),
        scores=tuple(scores("accepted", (0.2, 0.2, 0.7, 0.9), (None, (-0.1, 0.1), (0.3, 0.7), (0.6, 0.8)))),
        discrimination=(TellingApart("laboratory", "epoch-0015", None, 9, 40, 4, 40, Estimate(0.4, (-0.2, 1.0)), 0.9),),
        preferred=(Preferred("epoch-0015", "reinhard", 15, 3, 2, 10, SURE, 0.01, 0.02),),
        stretches=tuple(Stretch("Ana", n, 4, 10, (2.0, 3.0, 4.0), 8, 10, 6, 10) for n in range(5)),
        trends=(Trend("Ana", "seconds", 40, -0.4, 0.0001), Trend("Ana", "right", 40, 0.1, 0.4)),
        disputes=(Dispute("morphology", "s1", ("original", "epoch-0015"), "c" * 64, "blast", "theirs", said, 1.0),),
        acceptance=(),
        facts={"verdicts that count": 320, "accepted is a stain of at least": 4},
    )


@pytest.fixture(scope="module")
def reading() -> Reading:
    return make_reading()


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def html_of(reading: Reading, tmp_path: Path, pictures: dict | None = None) -> str:
    out = tmp_path / "r.html"
    write_review_report(reading, {"s1": (picture(), picture())} if pictures is None else pictures, out)
    return out.read_text(encoding="utf-8")


def test_the_answer_is_three_sentences(reading: Reading) -> None:
    assert story.headline(reading) == "1 of 2 re-stainings was accepted more often than the originals."
    who, what, sure = story.answer(reading)
    assert "2 readers, who did not know what they were shown, gave 320 answers on cells in 4 arms" in who
    assert what.startswith("They accepted 20.0% [10.0%, 30.0%] of original, 20.0%")
    assert "70.0% [60.0%, 80.0%] of epoch 15 and 90.0%" in what
    assert "the same answer to 80.0% [70.0%, 90.0%] of the pictures (weighted kappa 0.60, AC1 0.70)" in sure
    assert sure.endswith("shown a picture again, one reader repeated the answer in 90.0%.")


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((None, (0.1, 0.3), (0.3, 0.7), None), "2 of 2 re-stainings were accepted more often than the originals."),
        ((None, (-0.4, -0.1), (-0.1, 0.1), None), "1 of 2 re-stainings was accepted less often than the originals."),
        (
            (None, (-0.4, -0.1), (0.1, 0.3), None),
            "Of 2 re-stainings, 1 was accepted more often than the originals and 1 less often.",
        ),
        (
            (None, (-0.1, 0.1), (-0.1, 0.1), (0.5, 0.7)),
            "None of 2 re-stainings was clearly accepted more or less often than the originals.",
        ),
        ((None, None, (0.1, 0.3), None), "The re-staining was accepted more often than the originals."),
        (
            (None, None, (-0.1, 0.3), None),
            "The re-staining was not clearly accepted more or less often than the originals.",
        ),
        ((None,) * 4, "How often readers found pictures accepted, without originals to compare with."),
    ],
)
def test_the_headline_follows_the_intervals(reading: Reading, ends: tuple, said: str) -> None:
    found = scores("accepted", (0.2, 0.2, 0.7, 0.9), ends)
    assert story.headline(replace(reading, scores=tuple(found))) == said


def test_repeats_of_another_question_are_not_denied(reading: Reading) -> None:
    others = tuple(replace(repeat, aspect="laboratory") for repeat in reading.repeats)
    assert story.answer(replace(reading, repeats=others))[2].endswith("; for this question no picture was shown twice.")


def test_without_acceptance_another_question_answers(reading: Reading) -> None:
    other = scores("taken for real", (0.9, 0.5, 0.6, 0.9), (None, (-0.5, -0.3), (-0.4, -0.2), (-0.1, 0.1)))
    changed = replace(reading, scores=tuple(other))
    assert story.headline(changed) == "2 of 2 re-stainings were taken for real less often than the originals."
    assert story.answer(changed)[1].startswith("They took for real 90.0%")
    alone = replace(reading, scores=(), agreement=(), repeats=())
    assert story.headline(alone) == "Readers preferred epoch 15."
    assert "epoch 15 to reinhard in 15 answers, the other way round in 3, neither in 2" in story.answer(alone)[1]
    assert story.answer(alone)[2].startswith("One reader alone answered each picture")


def test_the_first_of_the_disputes_are_shown(reading: Reading) -> None:
    (one,) = reading.disputes
    many = replace(reading, disputes=(*[one] * 20, *[replace(one, aspect="stain_faults: nucleus")] * 9))
    assert [(aspect, len(shown), n) for aspect, shown, n in story.gallery(many)] == [
        ("morphology", 12, 20),
        ("stain_faults: nucleus", 4, 9),
    ]


def test_trends_are_told_in_words(reading: Reading) -> None:
    assert [story.trend_sentence(trend) for trend in reading.trends] == [
        "Ana: the time for a screen fell (tau -0.40, p < 0.001).",
        "Ana: no trend of the share of right answers is shown (tau +0.10, p 0.400).",
    ]
    assert story.trend_sentence(Trend("Ana", "accepted", 9, None, None)) == "Ana: share accepted stayed the same."


def test_the_page_needs_nothing_else(reading: Reading, tmp_path: Path) -> None:
    html = html_of(reading, tmp_path)
    assert "default-src 'none'" in html
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    assert "<script" not in html
    assert html.count("data:image/png") == 2
    assert html.count("data:image/svg+xml") == 2
    assert 'style="--x:0.3000;--y:0.4000"' in html
    assert html == html_of(reading, tmp_path)


def test_why_it_was_unblinded_early_stands_above_the_answer(reading: Reading, tmp_path: Path) -> None:
    assert "Unblinded before" not in html_of(reading, tmp_path)
    early = replace(reading, open_sessions=("Ben",), despite="<b>fire</b>", earlier=("Ana had screens left: haste.",))
    html = html_of(early, tmp_path)
    assert html.index("&lt;b&gt;fire&lt;/b&gt;") < html.index('<ol class="answer">')
    assert "unblinded once before</b>, when Ana had screens left: haste." in html


def test_hostile_names_are_text(reading: Reading, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>$x^_\ud800\x00"
    said = (Said(evil, evil, (0.1, 0.1)), Said("Ben", "unchanged"))
    renamed = replace(
        reading,
        readers=(evil, "Ben"),
        silent=(evil,),
        scores=tuple(replace(s, reader=s.reader and evil, arm=s.arm.replace("reinhard", evil)) for s in reading.scores),
        stretches=tuple(replace(s, reader=evil) for s in reading.stretches),
        trends=tuple(replace(t, reader=evil) for t in reading.trends),
        disputes=(replace(reading.disputes[0], answers=said, cell_type=evil, site=evil),),
    )
    html = html_of(renamed, tmp_path)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_pictures_that_are_missing_are_named(reading: Reading, tmp_path: Path) -> None:
    assert html_of(reading, tmp_path, {}).count("picture not found") == 2


def test_each_section_is_there_only_with_its_data(reading: Reading, tmp_path: Path) -> None:
    empty = replace(
        reading,
        agreement=(),
        repeats=(),
        scores=(),
        discrimination=(),
        preferred=(),
        stretches=(),
        trends=(),
        disputes=(),
    )
    heads = re.findall(r"<h2>(.+?)</h2>", html_of(empty, tmp_path))
    assert heads == ["How it was done", "Limits"]
    assert re.findall(r"<h2>(.+?)</h2>", html_of(reading, tmp_path)) == [
        "How far readers agree",
        "How far readers agree with themselves",
        "Arm by arm",
        "Can re-stained cells be told from photographs?",
        "Side by side",
        "Time and learning",
        "Pictures that readers disagreed on",
        *heads,
    ]


def test_limits_say_who_did_not_read_and_what_is_rough(reading: Reading) -> None:
    said = " ".join(story.limits(replace(reading, silent=("Dee",))))
    assert "Invited, but never answered: Dee." in said
    assert "Fewer than 20 cells were shown twice" in said
    assert "2 of them cannot show" in said
