"""The report of a count in both languages: whatever can stand in it, no English word is left in the Spanish one."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

from hemabridge.evaluation.differential_results import CUT, CountedCell, CountedField, DifferentialResults
from hemabridge.evaluation.languages import LANGUAGES, SENTENCES
from hemabridge.report.differential_story import TEXTS
from hemabridge.report.report import write_differential_report

CLASSES = ("lymphocyte", "monocyte", "neutrophil")
FACT = (
    "unlike what the model was trained on, in color or in scale "
    "(distance 3.10 over 60 images; in-distribution up to 1.20, borderline up to 2.40)"
)
NAMES = {
    "hemabridge",
    "differential",
    "check",
    "adapt",
    "find",
    "run",
    "out",
    "ours",
    "download",
    "file",
    "safetensors",
}
"""Names of programs, commands, arguments and files, which are the same in all languages."""


def cell_of(number: int, **changes: object) -> CountedCell:
    name = CLASSES[number % 3]
    cell = CountedCell(
        path=f"found/cells/f.png/{number:03d}.png",
        restained="",
        field="f.png",
        x=40.0,
        y=60.0,
        diameter_um=9.0,
        um_per_px=0.2,
        border=False,
        cluster=number == 1,
        score=0.9,
        left_out="",
        predicted=name,
        probabilities=tuple(0.8 if own == name else 0.1 for own in CLASSES),
        guard="refuse" if number == 2 else "pass",
        unknown="it resembles lymphocyte most, and not enough" if number == 3 else "",
        cell_um=12.5,
    )
    return replace(cell, **changes)  # type: ignore[arg-type]


def field_of(name: str, status: str, reason: str) -> CountedField:
    return CountedField(name, status, reason, 6, 3, 1, 40, 0.2, 240, 120, "")


@pytest.fixture
def results() -> DifferentialResults:
    """A count in which all can be said that a report says."""
    cells = [cell_of(number) for number in range(6)]
    cells += [
        cell_of(6, left_out=CUT, border=True),
        cell_of(7, left_out="blurred: the edge of its nucleus is 2.0 um wide, which is more than 1.6 um"),
        cell_of(8, expert="no leukocyte"),
        cell_of(9, expert="other leukocyte"),
    ]
    fields = [
        field_of("f.png", "searched", ""),
        field_of("e.png", "empty", "cells cover 0.2% of the field, which is less than 1%"),
        field_of("u.png", "unreadable", "expected a whole image, could not decode it (image file is truncated)"),
        field_of("c.png", "crowded", "cells cover 90% of the field, which is more than 85%: too thick"),
    ]
    caution = (
        "CAUTION: the classifier is weak even on your own cells. Check their labels, or give more cells of each class."
    )
    home = ((40, 8, 2), (6, 30, 4), (1, 1, 98))
    return DifferentialResults(
        folder="p1",
        model="m1",
        model_sha256="0" * 64,
        restained_by="r1",
        classes=CLASSES,
        cells=tuple(cells),
        fields=tuple(fields),
        confusion=home,
        confusion_from="190 cells of h1, held out of training",
        site="out-of-distribution",
        site_fact=FACT,
        seed=3,
        cautions=(caution,),
    )


def written(results: DifferentialResults, out: Path, language: str) -> str:
    """The text of a report, with what only a screen reader says."""
    shown = {name: [cell for cell in results.counted if cell.class_name == name] for name in results.classes}
    images = {cell.path: np.zeros((8, 8, 3), np.uint8) for cell in results.cells}
    write_differential_report(results, shown, images, out, language)
    html = out.read_text(encoding="utf-8")
    assert f'<html lang="{language}">' in html
    alternatives = " ".join(re.findall(r'(?:alt|aria-label)="([^"]*)"', html))
    return unescape(re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]) + alternatives)


def variants(results: DifferentialResults) -> dict[str, DifferentialResults]:
    borderline = FACT.replace(
        "unlike what the model was trained on, in color or in scale", "at the edge of what the model was trained on"
    )
    checked = results.corrected({cell.path: "monocyte" for cell in results.cells})
    return {
        "out-of-distribution": results,
        "borderline": replace(results, site="borderline", site_fact=borderline, restained_by=""),
        "in-distribution": replace(results, site="in-distribution", cautions=(), cells=50 * results.cells),
        "without a confusion": replace(results, confusion=(), confusion_from="", site="", site_fact=""),
        "never confused": replace(results, confusion=((9, 0, 0), (0, 9, 0), (0, 0, 9)), site=""),
        "checked": checked,
        "nothing counted": replace(results, cells=(), fields=results.fields[1:], site=""),
    }


def test_no_english_word_is_left_in_the_spanish_report(results: DifferentialResults, tmp_path: Path) -> None:
    texts = " ".join(one["es"] for one in (*TEXTS.values(), *SENTENCES))
    said = set(re.findall(r"[^\W\d_]{2,}", texts.lower()))
    for name, own in variants(results).items():
        english, spanish = (written(own, tmp_path / f"{language}.html", language) for language in LANGUAGES)
        left = {word.lower() for word in re.findall(r"[^\W\d_]{2,}", spanish)}
        both = left & {word.lower() for word in re.findall(r"[^\W\d_]{2,}", english)} - said - NAMES
        assert both <= {"png", "µm", "rümke", "clopper", "pearson", "dirichlet", "jeffreys", "sha"}, name


def test_the_english_report_says_all_that_the_spanish_one_says(results: DifferentialResults, tmp_path: Path) -> None:
    for own in variants(results).values():
        english, spanish = (written(own, tmp_path / f"{language}.html", language) for language in LANGUAGES)
        numbers = [sorted(re.findall(r"\d+(?:\.\d+)?%?", text)) for text in (english, spanish)]
        assert numbers[0] == numbers[1]


@pytest.mark.parametrize("key", TEXTS)
def test_each_text_is_there_in_all_languages_with_the_same_fields(key: str) -> None:
    assert set(TEXTS[key]) == set(LANGUAGES)
    named = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in TEXTS[key].values()]
    assert named[0] == named[1]
    assert TEXTS[key]["en"] != TEXTS[key]["es"]
