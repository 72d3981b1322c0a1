"""The page of `hemabridge label` in a real browser: labeled by keys, taken back, finished, in both languages."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import cast

import pytest
from browser import LAPTOP, PHONE, look_at, open_browser, screen_of, wait_gone, wait_ready
from playwright.sync_api import Browser, Page

from hemabridge.data.new_cells import list_new_cells
from hemabridge.errors import InputError
from hemabridge.progress import silent
from hemabridge.review.store import STORE, Store
from hemabridge.workflows.label.hospital import Hospital
from hemabridge.workflows.label.label_files import CellToLabel
from hemabridge.workflows.label.page import Asked, ask_on_page

pytestmark = pytest.mark.slow

CLASSES = ("blast", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def hospital(hospitals: Path) -> Hospital:
    """A hospital as far as the page needs it: images, crop and classes."""
    manifest = list_new_cells(hospitals / "yellow-field" / "manifest.csv", None, "new").manifest
    run = SimpleNamespace(classes=CLASSES, progress=silent)
    return cast("Hospital", SimpleNamespace(manifest=manifest, crop_px=20, run=run))


def cells_of(hospital: Hospital, count: int) -> list[CellToLabel]:
    return [CellToLabel(path, "blast", 0.5, 0) for path in hospital.manifest.column("path")[:count]]


class Asking:
    """`ask_on_page` in a thread."""

    def __init__(self, hospital: Hospital, folder: Path, count: int, language: str) -> None:
        self.address, self.returned, listening = "", list[Asked](), Event()

        def listen(address: str) -> None:
            self.address = address
            listening.set()

        def work() -> None:
            cells = cells_of(hospital, count)
            self.returned.append(ask_on_page(hospital, cells, folder, language=language, port=0, ready=listen))

        self.thread = Thread(target=work, daemon=True)
        self.thread.start()
        assert listening.wait(60)


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the main thread can take signals."""
    monkeypatch.setattr("hemabridge.workflows.review.serve.signal.signal", lambda *_: None)


def press(page: Page, key: str) -> None:
    screen = screen_of(page)
    wait_ready(page)
    page.keyboard.press(key)
    wait_gone(page, screen)


@pytest.mark.parametrize("language", ["en", "es"])
def test_cells_are_labeled_by_keys_and_what_is_taken_back_does_not_count(
    browser: Browser, hospital: Hospital, tmp_path: Path, language: str
) -> None:
    folder, small = tmp_path / "page", language == "es"
    asking = Asking(hospital, folder, 3, language)
    page = browser.new_context(viewport=PHONE if small else LAPTOP).new_page()
    page.goto(asking.address)
    assert page.get_attribute("html", "lang") == language
    look_at(page, f"label-{language}-welcome", tmp_path, whole=True)
    page.keyboard.press("Enter")
    page.wait_for_url("**/read")
    wait_ready(page)
    look_at(page, f"label-{language}-cell", tmp_path, whole=small)
    assert page.locator(".stage img").count() == 2
    keys = page.eval_on_selector_all("#answers button", "all => all.map(one => one.dataset.key)")
    assert keys == ["1", "2", "3", "4", "5", "u"]
    press(page, "3")
    press(page, "1")
    press(page, "Backspace")
    press(page, "u")
    screen = screen_of(page)
    wait_ready(page)
    page.keyboard.press("5")
    wait_gone(page, screen)
    page.wait_for_url("**/done")
    look_at(page, f"label-{language}-done", tmp_path, whole=True)
    page.keyboard.press("Enter")
    page.wait_for_url("**/finish")
    asking.thread.join(60)
    paths = hospital.manifest.column("path")
    labels = dict(zip(paths, ("lymphocyte", "unknown", "neutrophil"), strict=False))
    assert asking.returned == [Asked(labels, finished=True)]
    with Store.open(folder / STORE) as store:
        assert len(store.rows("SELECT * FROM submission")) == 4  # the answer that was taken back is kept
    cells = cells_of(hospital, 3)
    again = ask_on_page(hospital, cells, folder, language="en", port=0, ready=pytest.fail)
    assert again == Asked(labels, finished=True)
    with pytest.raises(InputError, match="got others"):
        ask_on_page(hospital, cells[:2], folder, language="en", port=0, ready=pytest.fail)
