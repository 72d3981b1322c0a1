"""The report in a real browser, without a network."""

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report import story
from hemabridge.report.layout import lay_out
from hemabridge.report.pictures import StudyPictures
from hemabridge.report.report import ChosenSnapshot, write_study_report

pytestmark = pytest.mark.slow
MakeStudy = Callable[..., StudyResults]
MakePictures = Callable[..., StudyPictures]

WIDTHS_PX = (1366, 820, 390)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--disable-background-networking")

MEASURE = """<!doctype html><meta charset="utf-8"><title>measured</title>
{frames}
<pre id="found"></pre>
<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument;
    const images = [...page.images];
    return {{
      width: frame.clientWidth,
      scroll_width: page.documentElement.scrollWidth,
      heading: page.querySelector("h1").textContent,
      images: images.length,
      drawn: images.filter(image => image.complete && image.naturalWidth > 0).length,
      font_px: parseFloat(frame.contentWindow.getComputedStyle(page.querySelector("h1")).fontSize),
    }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium; skips without one, fails where CI promises one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        message = f"needs one of {', '.join(BROWSERS)} on the PATH, found none"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, make_study: MakeStudy, make_pictures: MakePictures) -> Path:
    out = tmp_path_factory.mktemp("browser") / "report.html"
    results = make_study(board=True, refused={None: 0, "0010": 30, "0015": 12, "0020": 5})
    chosen = ChosenSnapshot("0020 is best.", png_of(np.full((616, 880, 3), 200, np.uint8)))
    write_study_report(results, make_pictures(changed=True, refused=True), out, chosen)
    return out


def png_of(image: UInt8Image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def open_page(browser: str, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a local page without a window or a network; standard error holds what the page's console says."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *OFFLINE]
    command += ["--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def said_in_console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def measure(browser: str, page: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Show a page in a frame of each width; return what was measured there, and what the console said."""
    frames = "".join(
        f'<iframe src="{page.name}" width="{w}" height="900" style="border:0"></iframe>' for w in WIDTHS_PX
    )
    wrapper = page.with_name(f"measure-{page.name}")
    wrapper.write_text(MEASURE.format(frames=frames), encoding="utf-8")
    done = open_page(browser, wrapper, "--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom")
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(unescape(found[1])), said_in_console(done)


def test_the_report_fits_a_screen_and_a_phone_and_draws_every_picture(
    browser: str, report: Path, make_study: MakeStudy
) -> None:
    found, console = measure(browser, report)
    assert console == []
    assert [page["width"] for page in found] == list(WIDTHS_PX)
    headline = story.headline(story.label_free_tests(lay_out(make_study(board=True))))
    for page in found:
        assert page["scroll_width"] == page["width"]
        assert page["heading"] == headline
        assert page["drawn"] == page["images"] > 40
    assert found[2]["font_px"] < found[0]["font_px"]  # the rules for narrow screens are at work


def test_the_measures_would_tell_a_page_that_is_too_wide_lacks_a_picture_and_complains(
    browser: str, tmp_path: Path
) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><title>bad</title><h1 style='width: 600px'>bad</h1><img src='none.png'>"
        "<script>console.error('complaint')</script>",
        encoding="utf-8",
    )
    found, console = measure(browser, page)
    assert [one["scroll_width"] > one["width"] for one in found] == [False, False, True]
    assert [(one["images"], one["drawn"]) for one in found] == [(1, 0)] * 3
    assert any("complaint" in line for line in console)


def test_the_report_is_painted(browser: str, report: Path) -> None:
    shot = report.with_name("shot.png")
    done = open_page(browser, report, "--window-size=1280,1600", f"--screenshot={shot}")
    assert said_in_console(done) == []
    pixels = read_image(shot)
    assert pixels.shape[:2] == (1600, 1280)
    white = np.mean(np.all(pixels > 250, axis=2))
    assert 0.3 < white < 0.97
    assert len(np.unique(pixels.reshape(-1, 3)[::7], axis=0)) > 500  # photographs, not only text


def test_the_slider_wipes_every_cell(browser: str, report: Path) -> None:
    """Without a script on the page: only its style rules act on the stop that is chosen."""
    shots = []
    for stop in (0, 10):
        page = report.with_name(f"stop-{stop}.html")
        html = report.read_text(encoding="utf-8").replace(" checked>", ">")
        html = html.replace(f'id="wipe-{stop}"', f'id="wipe-{stop}" checked')
        start = html.index('<figure class="wipes">')
        figure = html[start : html.index("</figure>", start)] + "</figure>"
        page.write_text(html[: html.index("<body>")] + "<body><main>" + figure + "</main>", encoding="utf-8")
        shot = report.with_name(f"stop-{stop}.png")
        open_page(browser, page, "--window-size=900,400", f"--screenshot={shot}")
        shots.append(read_image(shot)[80:180].astype(float))
    yellow = [np.mean(shot[..., 2]) for shot in shots]  # the source's images are yellow: little blue
    assert yellow[1] > yellow[0] + 15


def test_the_printed_report_begins_with_a_page_for_the_answer(browser: str, report: Path) -> None:
    printed = report.with_name("report.pdf")
    open_page(browser, report, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    data = printed.read_bytes()
    assert data.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert pages > 3
