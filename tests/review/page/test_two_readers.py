"""Two scripted readers complete a study of 37 screens in a real browser, through a closed tab and a killed server."""

import random
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from browser import LAPTOP, PHONE, free_port, look_at, open_browser, page_name, screen_of, served, wait_gone, wait_ready
from playwright.sync_api import Browser, Page, ViewportSize
from playwright.sync_api import Error as BrowserError
from sklearn.metrics import cohen_kappa_score

from hemabridge.review.key import KEY, read_key
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.store import STORE, Store
from hemabridge.workflows.review.create import Created
from hemabridge.workflows.review.unblind import review_unblind

pytestmark = pytest.mark.slow

TASKS = [
    {"questions": ["laboratory"], "cells": 4, "repeats": 2, "practice": 1},
    {"questions": ["stain"], "cells": 3, "practice": 1},
    {"questions": ["morphology"], "cells": 4, "practice": 1},
    {"questions": ["preference"], "arms": ["original", "cyclegan-0010"], "cells": 6, "practice": 1},
]
SCREENS = 37
KEYS = {
    Question.LABORATORY: {"target": "1", "other": "2"},
    Question.STAIN: {str(grade): str(grade) for grade in range(1, 6)},
    Question.MORPHOLOGY: {"unchanged": "1", "changed": "2"},
    Question.PREFERENCE: {"left": "1", "right": "2", "equal": "3"},
}
GRADES = {"original": "2", "cyclegan-0010": "4", "target": "5"}


def true_answer(item: Item) -> str:
    """Return what a reader who cannot be fooled says."""
    if item.question is Question.LABORATORY:
        return "target" if item.arms == ("target",) else "other"
    if item.question is Question.STAIN:
        return GRADES[item.arms[0]]
    if item.question is Question.MORPHOLOGY:
        return "changed" if int(item.cell, 16) % 2 else "unchanged"
    return "left" if item.arms[0] == "cyclegan-0010" else "right"


def counts(item: Item) -> bool:
    """Say whether unblinding counts an item when readers are compared."""
    return not item.practice and item.repeat_of is None


def slips(items: list[Item]) -> dict[str, str]:
    """Return what the second reader says differently: a known share of each question's items that count.

    Item names are random in each run, so a draw among all could fall on practice and repeats alone.
    """
    found = {}
    for question in (Question.LABORATORY, Question.STAIN, Question.PREFERENCE):
        own = sorted((item for item in items if item.question is question and counts(item)), key=lambda item: item.item)
        for item in random.Random(question.value).sample(own, len(own) // 4):
            others = [answer for answer in KEYS[question] if answer != true_answer(item)]
            found[item.item] = random.Random(item.cell).choice(others)
    return found


@dataclass
class Scripted:
    """A reader with a mind that the test knows."""

    page: Page
    answers: Mapping[str, str]
    by_screen: Mapping[str, Item]
    by_keyboard: bool

    def read(self, screens: int) -> int:
        """Answer that many screens, or to the end; return how many were answered."""
        done = 0
        while done < screens and page_name(self.page) != "done":
            screen = self.next_screen()
            self.answer(self.by_screen[screen])
            wait_gone(self.page, screen)
            done += 1
        return done

    def next_screen(self) -> str:
        """Go past the page that begins or ends a task, if there is one; return the screen that is shown then."""
        while page_name(self.page) != "read":
            self.page.keyboard.press("Enter") if self.by_keyboard else self.page.click("a.primary")
            self.page.wait_for_url("**/read")
        wait_ready(self.page)
        return screen_of(self.page)

    def answer(self, item: Item) -> None:
        answer = self.answers[item.item]
        if self.by_keyboard:
            self.page.keyboard.press(KEYS[item.question][answer])
        elif answer == "changed":
            frame = self.page.locator("#markable").bounding_box()
            assert frame is not None
            self.page.mouse.click(frame["x"] + 0.25 * frame["width"], frame["y"] + 0.75 * frame["height"])
            self.page.click("button[value=changed]")
        else:
            self.page.click(f"button[value='{answer}']")
        if self.by_keyboard and answer == "changed":
            for _ in range(5):
                self.page.keyboard.press("ArrowRight")
            self.page.keyboard.press("Shift+ArrowUp")
            self.page.keyboard.press("Enter")


@dataclass
class Study:
    """What is left when both readers have finished."""

    created: Created
    items: list[Item]
    said: dict[str, dict[str, str]]
    verdicts: list[Verdict]
    history: int
    open_midway: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def study(browser: Browser, make_review: Callable[..., Created]) -> Study:
    port = free_port()
    created = make_review(tasks=TASKS, apart=6, seed=11, address=f"http://127.0.0.1:{port}")
    assert created.screens == SCREENS
    items = read_key(created.out / KEY)
    truth = {item.item: true_answer(item) for item in items}
    said = {"Ana Ruiz": truth, "Ben": truth | slips(items)}
    by_screen = {item.shown: item for item in items}
    (created.out / KEY).rename(created.out.parent / KEY)  # the page must do without

    def sit_down(name: str, *, by_keyboard: bool) -> Scripted:
        page = browser.new_context(viewport=LAPTOP).new_page()
        page.goto(created.links[name])
        page.click("a.primary")
        return Scripted(page, said[name], by_screen, by_keyboard)

    with served(created.out, port) as server:
        ana = sit_down("Ana Ruiz", by_keyboard=True)
        assert ana.read(15) == 15
        undo_a_slip(ana)
        ana.page.context.close()  # the tab is closed midway ...
        with Store.open(created.out / STORE) as store:
            midway = store.open_sessions()
        ana = sit_down("Ana Ruiz", by_keyboard=True)  # ... and the study goes on at another computer
        assert ana.read(100) == SCREENS - 16

        ben = sit_down("Ben", by_keyboard=False)
        assert ben.read(18) == 18
        last = ben.next_screen()
        assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL
        ben.answer(by_screen[last])  # into the void
        with pytest.raises(BrowserError):
            ben.page.goto(created.links["Ben"], timeout=5_000)
        server.start()
        ben.page = ben.page.context.new_page()
        ben.page.goto(created.links["Ben"] + "read")
        assert screen_of(ben.page) == last  # what was not stored is asked again
        assert ben.read(100) == SCREENS - 18
        assert server.stop()[0] == 0
    with Store.open(created.out / STORE) as store:
        history = int(store.rows("SELECT count(*) FROM submission")[0][0])
        return Study(created, items, said, store.verdicts(), history, midway)


def undo_a_slip(reader: Scripted) -> None:
    """Say the wrong thing, take it back by key, and say the right one."""
    screen = reader.next_screen()
    item = reader.by_screen[screen]
    wrong = next(a for a in KEYS[item.question] if a not in (reader.answers[item.item], "changed"))
    reader.page.keyboard.press(KEYS[item.question][wrong])
    wait_gone(reader.page, screen)
    if page_name(reader.page) != "read":
        reader.page.goto(reader.page.url.rpartition("/")[0] + "/read")
    wait_ready(reader.page)
    second = screen_of(reader.page)
    reader.page.keyboard.press("u")
    wait_gone(reader.page, second)
    assert screen_of(reader.page) == screen
    assert reader.read(1) == 1


def test_every_answer_of_both_readers_is_stored_as_it_was_given(study: Study) -> None:
    found = {(verdict.reader, verdict.item): verdict.answer for verdict in study.verdicts}
    assert len(found) == len(study.verdicts) == 2 * SCREENS
    assert found == {(reader, item): answer for reader, own in study.said.items() for item, answer in own.items()}
    assert study.history == 2 * SCREENS + 1  # and the slip that was taken back
    assert study.open_midway == ["Ana Ruiz"]


def test_places_and_times_are_those_of_the_readers(study: Study) -> None:
    places = {(v.reader, v.place) for v in study.verdicts if v.answer == "changed"}
    by_keys = {place for reader, place in places if reader == "Ana Ruiz"}
    assert by_keys == {(0.6, 0.4)}  # five steps to the right, a long one up, from the middle
    for reader, place in places:
        if reader == "Ben":
            assert place == pytest.approx((0.25, 0.75), abs=0.01)
    assert {v.place for v in study.verdicts if v.answer != "changed"} == {None}
    assert min(verdict.seconds for verdict in study.verdicts) > 0.01
    assert max(verdict.seconds for verdict in study.verdicts) < 60
    for reader in study.said:
        assert sorted(v.order for v in study.verdicts if v.reader == reader) == list(range(SCREENS))


def test_the_readers_agree_as_far_as_their_scripts_do(study: Study) -> None:
    counted = {item.item: item for item in study.items if counts(item)}
    for question in (Question.LABORATORY, Question.STAIN, Question.PREFERENCE):
        wanted = [item for item, drawn in counted.items() if drawn.question is question]
        stored = {(v.reader, v.item): v.answer for v in study.verdicts}
        kappas = [
            cohen_kappa_score([said["Ana Ruiz", i] for i in wanted], [said["Ben", i] for i in wanted])
            for said in (stored, {(reader, i): own[i] for reader, own in study.said.items() for i in own})
        ]
        assert kappas[0] == kappas[1]
        assert 0 < kappas[0] < 1


def test_unblinding_returns_the_agreement_of_the_scripts(study: Study) -> None:
    out = study.created.out
    found = review_unblind(out, key=out.parent / KEY).reading
    assert (found.readers, found.open_sessions) == (("Ana Ruiz", "Ben"), ())
    by_aspect = {agreement.aspect: agreement for agreement in found.agreement}
    for question in (Question.LABORATORY, Question.STAIN, Question.PREFERENCE):
        firsts = [i for i in study.items if i.question is question and counts(i)]
        ana, ben = ([named(item, own[item.item]) for item in firsts] for own in study.said.values())
        assert by_aspect[question].n == len(firsts)
        assert by_aspect[question].observed.value == pytest.approx(np.mean(np.array(ana) == np.array(ben)))
        assert by_aspect[question].cohen.value == pytest.approx(cohen_kappa_score(ana, ben))


@pytest.mark.parametrize(("name", "size"), [("laptop", LAPTOP), ("phone", PHONE)])
def test_the_report_of_the_study_is_looked_at(
    study: Study, browser: Browser, name: str, size: ViewportSize, tmp_path: Path
) -> None:
    out = study.created.out
    report = review_unblind(out, key=out.parent / KEY).report
    page = browser.new_context(viewport=size).new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(report.as_uri())
    look_at(page, f"{name}-review-report", tmp_path, whole=True)
    assert page.evaluate("document.images.length > 4 && [...document.images].every(one => one.naturalWidth > 0)")
    assert complaints == []
    page.context.close()


def named(item: Item, answer: str) -> str:
    """Return the answer; of a preference the arm, since sides are random."""
    sides = {"left": item.arms[0], "right": item.arms[-1]}
    return sides.get(answer, answer) if item.question is Question.PREFERENCE else answer
