"""The page of `hemabridge check` in a real browser: cells corrected by keys and counted, in both languages."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import LAPTOP, PHONE, PROGRAM, free_port, look_at, open_browser
from playwright.sync_api import Browser

from hemabridge.data.simulate import FieldSpec
from hemabridge.evaluation.differential_results import DifferentialResults
from hemabridge.imaging.files import write_image
from hemabridge.workflows.differential.differential import differential
from hemabridge.workflows.simulate.whole_fields import simulate_fields

pytestmark = pytest.mark.slow

DESCRIBED = 'file = "brightest.onnx"\nclasses = ["lymphocyte", "monocyte", "neutrophil"]\n'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def counted(brightest: Path, tmp_path: Path) -> Path:
    """A count of three simulated fields."""
    (tmp_path / "theirs.toml").write_text(DESCRIBED, encoding="utf-8")
    spec = FieldSpec(seed=6, width_px=400, height_px=320, um_per_px=0.2, leukocytes=6.0, areas=("monolayer",))
    simulate_fields(tmp_path / "f", 3, spec, hospitals=("clinic-like",))
    for name, channel in (("lymphocyte", 0), ("monocyte", 1), ("neutrophil", 2)):
        for number in range(5):
            image = np.full((40, 40, 3), 60, np.uint8)
            image[::2, :, channel if number else (channel + 1) % 3] = 220
            image[12:28, 12:28] = (90, 40 + number, 130)
            write_image(tmp_path / "home" / name / f"{number}.png", image)
    out = tmp_path / "count"
    differential(tmp_path / "theirs.toml", tmp_path / "f" / "clinic-like", out, home=tmp_path / "home")
    return out


@pytest.mark.parametrize("language", ["en", "es"])
def test_cells_are_corrected_by_keys_and_the_count_follows(
    browser: Browser, counted: Path, tmp_path: Path, language: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, "check", str(counted), "--port", str(free_port())]
    command += ["--name", "Ana", "--language", language]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/r/\S+", process.stdout.readline())
    assert found is not None
    small = language == "es"
    page = browser.new_context(viewport=PHONE if small else LAPTOP).new_page()
    page.goto(found[0])
    assert page.get_attribute("html", "lang") == language
    look_at(page, f"check-{language}-gallery", tmp_path, whole=True)
    page.click(".primary")
    page.wait_for_url("**/c/*")
    look_at(page, f"check-{language}-cell", tmp_path, whole=True)
    first = page.url
    page.keyboard.press("3")
    page.wait_for_function("old => location.href !== old && document.readyState === 'complete'", arg=first)
    second = page.url
    page.keyboard.press("x")
    page.wait_for_function("old => location.href !== old && document.readyState === 'complete'", arg=second)
    with page.expect_navigation():
        page.keyboard.press("Backspace")  # on the page of the third cell
    assert page.url == second
    with page.expect_navigation():
        page.keyboard.press("g")
    assert page.locator(".seen").count() == 1
    look_at(page, f"check-{language}-corrected", tmp_path, whole=True)
    page.click("form[action$=finish] button")
    page.wait_for_url("**/finish")
    look_at(page, f"check-{language}-finished", tmp_path)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "neutrophil: " in told
    done = DifferentialResults.read(counted / "differential.json")
    assert [cell.expert for cell in done.cells if cell.expert] == ["neutrophil"]
    with (counted / "labels.csv").open(newline="") as file:
        (label,) = csv.DictReader(file)
    assert label["class"] == "neutrophil"
    assert (counted / "found" / label["path"]).is_file()
    with (counted / "corrections.csv").open(newline="") as file:
        kept = [(row["who"], row["class"]) for row in csv.DictReader(file)]
    assert kept == [("Ana", "neutrophil"), ("Ana", "no leukocyte"), ("Ana", "")]
    page.goto((counted / "report.html").as_uri())
    look_at(page, f"check-{language}-report", tmp_path, whole=True)
    told = {"en": "An expert has seen 1 cells", "es": "Un experto ha visto 1 células"}[language]
    assert told in (counted / "report.html").read_text(encoding="utf-8")
