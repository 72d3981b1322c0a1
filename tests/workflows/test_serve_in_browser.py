"""The page of `hemabridge serve` in a real browser: images dropped, before and after, verdict and class."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from browser import LAPTOP, PHONE, look_at, open_browser
from playwright.sync_api import Browser, Page, expect

from hemabridge.data.simulate import HOSPITALS, FieldSpec, simulate_cells
from hemabridge.guard.thresholds import learn_normalizer_thresholds
from hemabridge.imaging.files import write_image
from hemabridge.models.guard_file import guard_path
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.service.access import Access
from hemabridge.service.service_app import Limits, make_service_app
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.guard import guard_of
from hemabridge.workflows.review.serve import serve_app
from hemabridge.workflows.serve import served_of
from hemabridge.workflows.simulate.whole_fields import simulate_fields

pytestmark = pytest.mark.slow
TOKEN = "t" * 32


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the main thread can take signals."""
    monkeypatch.setattr("hemabridge.workflows.review.serve.signal.signal", lambda *_: None)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three cells, and a file that is none."""
    out = tmp_path_factory.mktemp("dropped")
    images, _ = simulate_cells(("neutrophil", "lymphocyte", "eosinophil"), 1, HOSPITALS["yellow-field"], 5, 160)
    for number, image in enumerate(images):
        write_image(out / f"cell-{number}.png", image)
    write_image(out / "cell-3.tif", images[0])
    (out / "no-<b>image.png").write_bytes(b"no image")
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def normalizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normalizer with a guard."""
    kinds = ("neutrophil", "lymphocyte", "eosinophil")
    theirs, ours = (simulate_cells(kinds, 14, HOSPITALS[name], 3, 160)[0] for name in ("yellow-field", "clinic-like"))
    path = tmp_path_factory.mktemp("normalizer") / "macenko.json"
    path.write_text(fit_normalizer("macenko", theirs, ours).to_json(), encoding="utf-8")
    guard_of(sha256_of(path), learn_normalizer_thresholds("macenko", ours), ours).write(guard_path(path))
    return path


@contextmanager
def served(model: Path, access: Access | None = None) -> Iterator[str]:
    """Serve a model in a thread; give its address."""
    app = make_service_app(served_of(model), Limits(), access or Access())
    finished, listening, found = Event(), Event(), list[str]()

    def ready(address: str) -> None:
        found.append(address)
        listening.set()

    thread = Thread(target=lambda: serve_app(app, "127.0.0.1", 0, ready, finished), daemon=True)
    thread.start()
    assert listening.wait(60)
    try:
        yield found[0]
    finally:
        finished.set()
        thread.join(30)
        app.state.line.end()


def opened(browser: Browser, address: str, viewport: dict[str, int]) -> tuple[Page, list[str]]:
    """Open the page; errors of its script and its policy are collected."""
    page = browser.new_context(viewport=viewport).new_page()  # type: ignore[arg-type]
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(address)
    return page, faults


def natural_width(page: Page, selector: str) -> int:
    return int(page.eval_on_selector(selector, "async image => { await image.decode(); return image.naturalWidth }"))


def test_images_are_shown_before_and_after_with_verdict(
    browser: Browser, normalizer: Path, cells: list[Path], tmp_path: Path
) -> None:
    with served(normalizer) as address:
        page, faults = opened(browser, address, LAPTOP)
        look_at(page, "service-empty", tmp_path)
        page.set_input_files("#files", cells)
        expect(page.locator("#state")).to_have_text("5 images done.", timeout=60_000)
        look_at(page, "service-restained", tmp_path, whole=True)
        assert page.locator(".cell").count() == 5
        assert page.locator("h2").all_inner_texts() == [path.name for path in cells]
        assert natural_width(page, ".cell:nth-child(1) .before img") == 160
        assert natural_width(page, ".cell:nth-child(1) .after img") == 160
        assert natural_width(page, ".cell:nth-child(4) .after img") == 160  # a TIFF, which browsers cannot show
        assert page.locator(".cell:nth-child(1) .verdict").inner_text().startswith("Guard: ")
        assert "could not decode it" in page.locator(".cell:nth-child(5) .remark").inner_text()
        assert page.locator(".class").all_inner_texts() == [""] * 5  # this model has no classes
        assert faults == []


def test_images_that_are_dropped_get_a_class(
    browser: Browser, adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    with served(adapted_run[0], Access(TOKEN)) as address:
        page, faults = opened(browser, address, PHONE)
        dropped = sorted(unlabeled.glob("n-*.png"))[:3]
        transfer = page.evaluate_handle(
            """files => {
                const found = new DataTransfer();
                for (const [name, bytes] of files) found.items.add(new File([new Uint8Array(bytes)], name));
                return found;
            }""",
            [[path.name, list(path.read_bytes())] for path in dropped],
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
        expect(page.locator("#state")).to_contain_text("No answer: expected the header Authorization", timeout=60_000)
        page.fill("#token", TOKEN)
        faults.clear()  # the browser tells of the status 401
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
        expect(page.locator("#state")).to_have_text("3 images done.", timeout=60_000)
        look_at(page, "service-classified", tmp_path, whole=True)
        for told in page.locator(".class").all_inner_texts():
            name, _, percent = told.partition(", ")
            assert name in ("neutrophil", "lymphocyte") or told.startswith("No class: ")
            assert percent.endswith(" %") or told.startswith("No class: ")
        assert "distribution" in page.locator("#site").inner_text()
        assert faults == []


def test_fields_that_are_dropped_are_counted(
    browser: Browser, adapted_run: tuple[Path, Adapted], cells: list[Path], tmp_path: Path
) -> None:
    spec = FieldSpec(seed=5, width_px=340, height_px=300, um_per_px=0.22, leukocytes=5.0, areas=("monolayer",))
    simulate_fields(tmp_path / "fields", 2, spec, hospitals=("clinic-like",))
    fields = sorted((tmp_path / "fields" / "clinic-like").rglob("*.png"))[:2]
    with served(adapted_run[0]) as address:
        page, faults = opened(browser, address, LAPTOP)
        page.check("#whole")
        page.set_input_files("#files", [*fields, cells[-1]])
        expect(page.locator("#state")).to_have_text("3 images done.", timeout=60_000)
        look_at(page, "service-counted", tmp_path, whole=True)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        look_at(page, "service-counted-phone", tmp_path, whole=True)
        assert page.locator("#counted").inner_text().endswith("leukocytes counted in 2 of 3 fields.")
        rows = [row.split("\t") for row in page.locator("#classes tr").all_inner_texts()]
        counted = int(page.locator("#counted").inner_text().split()[0])
        assert [row[0] for row in rows] == list(adapted_run[1].classes)
        assert sum(int(row[1]) for row in rows) == counted > 0
        assert sum(float(row[2]) for row in rows) == pytest.approx(100, abs=0.2)
        assert page.locator("#fields td:first-child").all_inner_texts() == [path.name for path in [*fields, cells[-1]]]
        assert "unreadable" in page.locator("#fields tr").nth(2).inner_text()
        assert page.locator(".cell").count() == 0
        site = page.locator("#site").inner_text()
        assert page.locator("#distrust").is_visible() is ("out-of-distribution" in site)
        page.uncheck("#whole")
        page.set_input_files("#files", cells[:1])
        expect(page.locator("#state")).to_have_text("1 image done.", timeout=60_000)
        assert not page.locator("#count").is_visible()
        assert faults == []
