"""A Chromium without a window or a network, a served review, and what can be done on its pages."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OFFLINE = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
PROGRAM = "from hemabridge.cli import main; main()"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SMALL_PHONE = {"width": 390, "height": 664}


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Give a Chromium; skips without one, fails where CI promises one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        message = f"needs one of {', '.join(BROWSERS)} on the PATH, found none"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(OFFLINE))
        yield browser
        browser.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`hemabridge review serve` as a process of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, "review", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"Listening on http://127.0.0.1:{self.port}."), line + str(self.process.stderr)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End the process; return its exit code and what it said to standard error."""
        assert self.process is not None
        self.process.send_signal(how)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


@contextmanager
def served(folder: Path, port: int) -> Iterator[Server]:
    """Serve a review while the block runs."""
    server = Server(folder, port)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop(signal.SIGKILL)


def screen_of(page: Page) -> str:
    """Return the opaque id of the screen that a page shows."""
    return str(page.get_attribute("input[name=screen]", "value"))


def wait_ready(page: Page) -> None:
    """Wait until the pictures are there; answers before are slips and ignored."""
    page.wait_for_selector("body.ready", timeout=60_000)


def wait_gone(page: Page, screen: str) -> None:
    """Wait until another screen, or another page, is shown."""
    gone = "old => document.readyState == 'complete' && document.querySelector('#answers [name=screen]')?.value !== old"
    page.wait_for_function(gone, arg=screen, timeout=60_000)


def page_name(page: Page) -> str:
    return page.url.rpartition("/")[2]


def legend_of(page: Page) -> str:
    """Return the first question of a screen by its name, as `stain`."""
    found = re.match(r"\w+", str(page.get_attribute("fieldset", "class")))
    assert found is not None
    return found[0]


def look_at(page: Page, name: str, folder: Path, *, whole: bool = False) -> None:
    """Take a picture of the page, and measure what must hold for each."""
    out = Path(os.environ.get("HEMABRIDGE_SCREENSHOTS", folder))
    out.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=out / f"{name}.png", full_page=whole)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"
