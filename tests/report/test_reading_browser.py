"""The report of a review in a real browser, without a network, at three widths and on paper."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from hemabridge.evaluation.reading import Agreement, ArmScore, Dispute, Estimate, Reading, Said, Stretch
from hemabridge.report.report import write_review_report

pytestmark = pytest.mark.slow

WIDTHS_PX = (1366, 820, 390)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--disable-background-networking")
ARMS = ("original", "reinhard", "epoch-0015", "target")
READERS = ("Dr. Ana Perez de la Fuente", "Ben", "Cem")

MEASURE = """<!doctype html><meta charset="utf-8"><title>measured</title>
{frames}
<pre id="found"></pre>
<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument;
    const mark = page.querySelector(".mark").getBoundingClientRect();
    const cell = page.querySelectorAll(".twos .cell")[1].getBoundingClientRect();
    return {{
      width: frame.clientWidth,
      scroll_width: page.documentElement.scrollWidth,
      drawn: [...page.images].filter(image => image.complete && image.naturalWidth > 0).length,
      images: page.images.length,
      x: (mark.left + mark.width / 2 - cell.left) / cell.width,
      y: (mark.top + mark.height / 2 - cell.top) / cell.height,
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
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sure = Estimate(0.8, (0.7, 0.9))
    arms = [
        ArmScore("accepted", arm, reader, 20, 20, 0.5, (0.3, 0.7), sure if reader is None else None)
        for arm in ARMS
        for reader in (None, *READERS)
    ]
    places = ((0.25, 0.75), None, (0.5, 0.5))
    said = tuple(
        Said(name, "changed" if place else "unchanged", place) for name, place in zip(READERS, places, strict=True)
    )
    disputes = [
        Dispute("morphology", f"m{n}", ("original", "epoch-0015"), "c" * 64, "blast", "x", said, 1.0) for n in range(8)
    ]
    disputes += [Dispute("stain", f"s{n}", ("target",), "c" * 64, "blast", "x", said, 1.0) for n in range(8)]
    reading = Reading(
        name="lab",
        readers=READERS,
        silent=(),
        open_sessions=("Ben",),
        despite="haste",
        earlier=(),
        arms=ARMS,
        photographs=("original", "target"),
        agreement=tuple(Agreement(a, READERS, 80, 20, sure, sure, sure, sure, sure) for a in ("stain", "morphology")),
        repeats=(),
        scores=tuple(arms),
        discrimination=(),
        preferred=(),
        stretches=tuple(Stretch(r, n, 4, 9, (2.0, 3.0, 4.0), 8, 10, 6, 10) for r in READERS for n in range(5)),
        trends=(),
        disputes=tuple(disputes),
        acceptance=(),
        facts={"accepted is a stain of at least": 4},
    )
    cell = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    out = tmp_path_factory.mktemp("browser") / "review-report.html"
    write_review_report(reading, {d.shown: (cell,) * len(d.arms) for d in disputes}, out)
    return out


def open_page(browser: str, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a local page without a window or a network; standard error holds what the page's console says."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *OFFLINE]
    command += ["--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line] == []
    return done


def test_it_fits_every_screen_and_marks_lie_where_readers_put_them(browser: str, report: Path) -> None:
    frames = "".join(
        f'<iframe src="{report.name}" width="{w}" height="900" style="border:0"></iframe>' for w in WIDTHS_PX
    )
    wrapper = report.with_name("measure.html")
    wrapper.write_text(MEASURE.format(frames=frames), encoding="utf-8")
    done = open_page(browser, wrapper, "--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom")
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    pages = json.loads(unescape(found[1]))
    assert [page["width"] for page in pages] == list(WIDTHS_PX)
    for page in pages:
        assert page["scroll_width"] == page["width"]
        assert page["drawn"] == page["images"] == 2 + 2 * 8 + 8
        assert (page["x"], page["y"]) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.75, abs=0.01))


def test_it_can_be_printed(browser: str, report: Path) -> None:
    printed = report.with_name("report.pdf")
    open_page(browser, report, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    data = printed.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 3
