"""The documents as a site: whole, complete, and readable on a computer without a network."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[2]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
OFFLINE: Final = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
LOADED: Final = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
REMOTE: Final = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")


class Resources(HTMLParser):
    """Collects what a page loads by itself: scripts, styles, fonts, icons, pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        value = dict(attrs).get(LOADED.get(tag, ""))
        if value:
            self.found.append(value)


def resources(html: str) -> list[str]:
    parser = Resources()
    parser.feed(html)
    return parser.found


def remote(places: list[str]) -> list[str]:
    return [place for place in places if re.match(r"(?:https?:)?//", place)]


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the documents and the site's configuration."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    return folder


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    built = build(project)
    assert built.returncode == 0, built.stdout + built.stderr
    return project / "site"


@pytest.fixture
def page() -> Iterator[Page]:
    """Give a page of a Chromium without a network; skips without one, fails where CI promises one."""
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs one of {', '.join(BROWSERS)}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(OFFLINE))
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def test_every_document_has_its_place_in_the_navigation() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(named) == len(set(named))
    assert set(named) == written


def test_what_a_page_loads_is_found() -> None:
    html = '<link rel=stylesheet href="//a/b.css"><script src="https://c/d.js"></script><a href="https://e">e</a>'
    assert remote(resources(html)) == ["//a/b.css", "https://c/d.js"]
    assert REMOTE.search("src: url('https://f/g.woff2')")
    assert not REMOTE.search("src: url(g.woff2)")


@pytest.mark.slow
def test_no_page_loads_anything_from_a_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))  # and one for what is not found
    loaded = {path.name: resources(path.read_text(encoding="utf-8")) for path in pages}
    assert all(len(found) >= 3 for found in loaded.values())
    assert {name: bad for name, found in loaded.items() if (bad := remote(found))} == {}
    styles = sorted(site.rglob("*.css"))
    assert styles
    assert [path.name for path in styles if REMOTE.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_a_broken_link_stops_the_build(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("site", ".cache"))
    with (tmp_path / "copy" / "docs" / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n[nowhere](methods.md#no-such-heading)\n")
    built = build(tmp_path / "copy")
    assert built.returncode != 0
    assert "anchor" in built.stdout + built.stderr


@pytest.mark.slow
def test_the_search_finds_a_page_from_the_disk_without_a_network(site: Path, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("pseudo-label")
    page.get_by_role("link", name=re.compile("Glossary")).last.wait_for(timeout=20_000)
    assert page.locator("mark").count() > 0
    assert [url for url in asked if not url.startswith("file:")] == []
