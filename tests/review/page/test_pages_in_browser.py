"""Every page in a real browser: looked at, measured, operated by keyboard, without scripts, in both languages."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import (
    LAPTOP,
    PHONE,
    SMALL_PHONE,
    Server,
    free_port,
    legend_of,
    look_at,
    open_browser,
    page_name,
    screen_of,
    served,
    wait_gone,
    wait_ready,
)
from playwright.sync_api import Browser, Page

from hemabridge.review.store import STORE, Store
from hemabridge.workflows.review.create import Created

pytestmark = pytest.mark.slow

TASKS = [
    {"questions": ["laboratory"], "cells": 2, "practice": 1},
    {"questions": ["artificial"], "arms": ["original"], "cells": 1},
    {"questions": ["stain", "stain_faults"], "arms": ["original"], "cells": 1},
    {"questions": ["cell_type"], "arms": ["original"], "cells": 1},
    {"questions": ["morphology"], "cells": 1},
    {"questions": ["preference"], "arms": ["original", "cyclegan-0010"], "cells": 1},
]
TYPES = ["blast", "lymphocyte", "monocyte", "neutrophil", "reactive_lymphocyte", "abnormal_lymphocyte", "basophil"]
READERS = ["laptop en", "laptop es", "phone en", "phone es", "keys", "no script", "zoom", "mark", "small phone"]

SHIFT = """() => { window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(
    entry => { window.shift += entry.value; })).observe({type: "layout-shift", buffered: true}); }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def created(make_review: Callable[..., Created]) -> Created:
    port = free_port()
    changes = {"readers": READERS, "cell_types": TYPES, "home": "Hospital Clínic", "seed": 3, "apart": 2}
    return make_review(tasks=TASKS, address=f"http://127.0.0.1:{port}", **changes)


@pytest.fixture(scope="module")
def server(created: Created) -> Iterator[Server]:
    with served(created.out, int(created.links["keys"].split(":")[2].split("/")[0])) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, server: Server, created: Created) -> Iterator[Callable[..., Page]]:
    """A function that opens a reader's link; whatever the page complains of, or asks another host for, fails."""
    complaints: list[str] = []
    contexts = []

    def open_link(reader: str, *, path: str = "", **options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": LAPTOP} | options))
        page = contexts[-1].new_page()
        # That a page was answered with 404 or 409 is no complaint of the page.
        page.on("console", lambda said: None if "a status of 4" in said.text else complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        host = created.links[reader].split("/r/")[0]
        page.on("request", lambda sent: None if sent.url.startswith(host) else complaints.append(sent.url))
        page.goto(created.links[reader] + path)
        return page

    yield open_link
    for context in contexts:
        context.close()
    assert complaints == []


def go_on(page: Page) -> None:
    """Answer the current screen by its first buttons, or leave a page of words."""
    if page_name(page) != "read":
        page.click("a.primary")
        page.wait_for_url("**/read")
        return
    screen = screen_of(page)
    page.locator("#answers [data-key='1']").click(force=True)
    if page.locator("#answers > button.primary").count():
        page.click("#answers > button.primary")
    wait_gone(page, screen)


@pytest.mark.parametrize("reader", READERS[:4])
def test_every_page_fits_and_meets_wcag_aa(open_page: Callable[..., Page], reader: str, tmp_path: Path) -> None:
    size, language = reader.split()
    page = open_page(reader, viewport=PHONE if size == "phone" else LAPTOP, has_touch=size == "phone")
    if language == "es":
        page.click("button[value=es]")
    assert page.get_attribute("html", "lang") == language
    look_at(page, f"{size}-{language}-welcome", tmp_path)
    seen = set()
    go_on(page)
    for _ in range(40):
        name = page_name(page)
        if name == "read":
            wait_ready(page)
            name = legend_of(page)
            page.evaluate(SHIFT)
        if name not in seen:
            look_at(page, f"{size}-{language}-{name}", tmp_path)
            seen.add(name)
        if name == "morphology":
            page.locator("#markable").click(position={"x": 40, "y": 60})
            look_at(page, f"{size}-{language}-mark", tmp_path)
        if page_name(page) == "read":
            assert page.evaluate("window.shift") == 0, name
            if size == "laptop":
                assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), name
        if name == "done":
            break
        go_on(page)
    assert seen == {*(task["questions"][0] for task in TASKS), "part", "done"}
    link = page.url.rpartition("/")[0]
    for name, path in {"pause": "pause", "rest": "rest", "message": "p/none.png"}.items():
        page.goto(f"{link}/{path}")
        look_at(page, f"{size}-{language}-{name}", tmp_path)


def test_the_keyboard_alone_is_enough_and_the_focus_goes_as_the_eye_does(
    open_page: Callable[..., Page], created: Created
) -> None:
    page = open_page("keys")
    page.keyboard.press("Enter")
    page.wait_for_url("**/read")
    wait_ready(page)
    order = []
    for _ in range(7):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.dataset.key"))
    assert order == ["1", "2", "-", "0", "+", "p", None]  # undo is off: there is nothing to take back
    first = screen_of(page)
    page.keyboard.press("2")
    wait_gone(page, first)
    page.keyboard.press("Enter") if page_name(page) == "part" else None
    page.wait_for_url("**/read")
    wait_ready(page)
    page.keyboard.press("p")
    page.wait_for_url("**/pause")
    page.keyboard.press("Enter")
    page.wait_for_url("**/read")
    wait_ready(page)
    second = screen_of(page)
    page.keyboard.press("u")
    wait_gone(page, second)
    assert screen_of(page) == first
    assert page.locator("button.before").get_attribute("data-key") == "2"
    page.goto(created.links["keys"])
    page.locator("#keys-switch").uncheck()
    page.goto(created.links["keys"] + "read")
    wait_ready(page)
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert screen_of(page) == first  # keys are off


def test_the_next_picture_is_there_before_it_is_asked_for(open_page: Callable[..., Page]) -> None:
    page = open_page("zoom", path="read")
    wait_ready(page)
    page.wait_for_function("window.following.length && window.following.every(one => one.complete)")
    go_on(page)
    page.click("a.primary") if page_name(page) == "part" else None
    page.wait_for_url("**/read")
    wait_ready(page)
    entry = "performance.getEntriesByName(document.querySelector('.stage img').src)[0].transferSize"
    assert page.evaluate(entry) == 0


def test_the_wheel_zooms_where_the_pointer_is_and_all_pictures_together(open_page: Callable[..., Page]) -> None:
    page = open_page("zoom", path="read")
    while legend_of(page) != "morphology":
        go_on(page)
        page.click("a.primary") if page_name(page) == "part" else None
        page.wait_for_url("**/read")
        wait_ready(page)
    frame = page.locator(".frame").first.bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.25)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('.frame').classList.contains('near')")
    transforms = page.eval_on_selector_all(".stage", "all => all.map(one => one.style.transform)")
    assert transforms[0] == transforms[1]
    scale = float(re.findall(r"scale\(([\d.]+)\)", transforms[0])[0])
    x = float(re.findall(r"translate\(([-\d.]+)px", transforms[0])[0])
    assert 1.5 < scale < 4
    assert x == pytest.approx(0.25 * frame["width"] * (scale - 1), rel=0.02)  # what lay under the pointer still does
    page.keyboard.press("0")
    assert "scale(1)" in page.eval_on_selector(".stage", "one => one.style.transform")
    markable = page.locator("#markable").bounding_box()
    assert markable is not None
    for _ in range(3):
        page.keyboard.press("+")
    page.mouse.click(markable["x"] + markable["width"] / 2, markable["y"] + markable["height"] / 4)
    shares = [float(page.input_value(f"input[name={axis}]")) for axis in "xy"]
    assert shares == pytest.approx([0.5, 0.5 - 0.25 / 1.4**3], abs=0.01)  # in the picture, not in the frame


def test_the_enlarged_picture_can_be_moved_by_keys(open_page: Callable[..., Page]) -> None:
    page = open_page("keys", path="read")
    wait_ready(page)

    def shift() -> list[float]:
        transform = page.eval_on_selector(".stage", "one => one.style.transform")
        return [float(found) for found in re.findall(r"(-?[\d.]+)px", transform)]

    page.keyboard.press("ArrowRight")
    assert shift() == []  # all of it is there to be seen
    for key in "++":
        page.keyboard.press(key)
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    side = page.eval_on_selector(".frame", "one => one.clientWidth")
    assert shift() == pytest.approx([-0.2 * side, 0.1 * side], abs=0.5)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert shift()[0] == pytest.approx(side * (1.4**2 - 1) / 2, abs=0.5)  # to its edge, not beyond


def test_a_small_phone_shows_the_first_words_and_large_pictures(open_page: Callable[..., Page]) -> None:
    page = open_page("small phone", viewport=SMALL_PHONE, has_touch=True, is_mobile=True)
    page.wait_for_load_state()
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.activeElement.className") == "primary"
    seen = {}
    while page_name(page) != "done":
        go_on(page)
        if page_name(page) != "read":
            continue
        wait_ready(page)
        side = page.eval_on_selector(".frame", "one => one.clientWidth")
        over = page.evaluate("document.documentElement.scrollHeight - innerHeight")
        seen[legend_of(page)] = (side, over)
        if legend_of(page) in ("morphology", "preference"):  # captions stand above their pictures: none is in between
            places = page.eval_on_selector_all(
                "figcaption, .frame", "all => all.map(one => one.getBoundingClientRect().y)"
            )
            first, caption, second, other = places
            assert caption < first < other < second
    assert [seen[name][0] >= 300 for name in ("laboratory", "artificial")] == [True, True]
    assert {name: over for name, (_, over) in seen.items() if over > 0} == {}


def test_all_questions_can_be_answered_without_scripts(open_page: Callable[..., Page], created: Created) -> None:
    page = open_page("no script", java_script_enabled=False)
    page.click("a.primary")
    for _ in range(40):
        if page_name(page) == "done":
            break
        if page_name(page) != "read":
            page.click("a.primary")
            continue
        kind = legend_of(page)
        if kind == "morphology":
            page.select_option("select[name=ninth]", "8")
            page.click("button[value=changed]")
        elif kind == "stain":
            page.locator("input[value='3']").check(force=True)
            page.locator("input[value=granules]").check(force=True)
            page.locator("input[value=nucleus]").check(force=True)
            page.click("#answers > button.primary")
        else:
            page.locator("#answers fieldset button").last.click()
    with Store.open(created.out / STORE) as store:
        verdicts = [verdict for verdict in store.verdicts() if verdict.reader == "no script"]
    assert len(verdicts) == created.screens + 1  # one screen asks two questions
    assert {v.answer for v in verdicts} == {
        "other",
        "artificial",
        "3",
        "nucleus,granules",
        "unsure",
        "changed",
        "equal",
    }
    assert [v.place for v in verdicts if v.place] == [(pytest.approx(5 / 6), pytest.approx(5 / 6))]


def test_two_tabs_and_the_back_button_do_no_harm(open_page: Callable[..., Page]) -> None:
    page = open_page("mark", path="read")
    wait_ready(page)
    other = page.context.new_page()
    other.goto(page.url)
    wait_ready(other)
    screen = screen_of(page)
    go_on(page)
    other.keyboard.press("1")
    other.wait_for_selector("text=That answer came too late")
    other.keyboard.press("Enter")
    other.wait_for_url("**/read")
    assert screen_of(other) != screen
    other.go_back()
    other.wait_for_load_state()
    assert "read" in other.url
