"""The morphology guard and the chosen snapshot in the report. Present only with their data."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from statsmodels.stats.proportion import proportion_confint

from hemabridge.evaluation.results import StudyResults
from hemabridge.guard.morphology import BAD
from hemabridge.report import morphology_section
from hemabridge.report.curves import refusals_svg
from hemabridge.report.layout import lay_out
from hemabridge.report.pictures import StudyPictures
from hemabridge.report.report import ChosenSnapshot, write_study_report

MakeStudy = Callable[..., StudyResults]
MakePictures = Callable[..., StudyPictures]
REFUSED = {None: 0, "0010": 30, "0015": 12, "0020": 5}
HEADING, CHOICE = "<h2>Morphology guard</h2>", "<h2>Which snapshot to use</h2>"


@pytest.fixture
def make_study(make_study: MakeStudy) -> MakeStudy:
    """Of two classifiers: more have no part in these sections, and each of them costs figures."""
    return partial(make_study, classifiers=("ResNet18", "ResNet34"))


def written(
    tmp_path: Path, results: StudyResults, pictures: StudyPictures, chosen: ChosenSnapshot | None = None
) -> str:
    write_study_report(results, pictures, tmp_path / "report.html", chosen)
    return unescape((tmp_path / "report.html").read_text(encoding="utf-8"))


def first_page_of(html: str) -> str:
    return html[html.index('<div class="first">') : html.index("<h2")]


def test_every_measure_has_words() -> None:
    assert set(morphology_section.WORDS) == set(BAD)
    assert len(set(morphology_section.WORDS.values())) == len(BAD)
    assert morphology_section.in_words("a measure of tomorrow") == "a measure of tomorrow"


def test_the_section_has_a_line_for_each_restaining(
    tmp_path: Path, make_study: MakeStudy, make_pictures: MakePictures
) -> None:
    html = written(tmp_path, make_study(refused=REFUSED), make_pictures(refused=True))
    section = html[html.index(HEADING) : html.index("<h2>The same cells")]
    assert section.count('<th scope="row"') == 4
    assert "<td>58</td><td>4</td>" in section
    low, high = proportion_confint(30, 92, method="wilson")
    assert f"<b>30</b><small>{3000 / 92:.1f}% [{100 * low:.1f}%, {100 * high:.1f}%]</small>" in section
    assert "more than a change of color (30), lobes of the nucleus (1)" in section
    assert "In 3 of 4 re-stainings, cells were refused" in section
    assert "The most by cyclegan 0010: 30 of 92 cells." in section
    assert "60 held-out cells of the target" in section
    assert section.count('alt="change"') == 8
    assert "more than a change of color; outline of the nucleus" in section
    assert section.count('class="refusals"') == 1


def test_without_a_guard_and_a_choice_there_is_no_section(
    tmp_path: Path, make_study: MakeStudy, make_pictures: MakePictures
) -> None:
    html = written(tmp_path, make_study(), make_pictures())
    assert HEADING not in html
    assert CHOICE not in html
    assert "morphology guard" not in first_page_of(html)
    one = written(tmp_path, make_study(refused={"0020": 0}), make_pictures())
    assert HEADING in one
    assert 'class="refusals"' not in one  # one snapshot makes no curve
    assert "Refused cells" not in one
    assert "The one re-staining passed" in one


def test_the_first_page_tells_of_refusals_of_the_best_restaining_only(
    tmp_path: Path, make_study: MakeStudy, make_pictures: MakePictures
) -> None:
    results = make_study(refused=REFUSED)
    free = [row for row in results.rows if row.site == "Can Ruti" and row.labels_used == 0 and row.snapshot]
    best = max(free, key=lambda row: row.balanced_accuracy).snapshot
    page = first_page_of(written(tmp_path, results, make_pictures()))
    assert f"refuses {REFUSED[best]} of the 92 cells that the best re-staining made (cyclegan {best}, by" in page
    assert page.count("<li>") == 4
    others = make_study(refused={**REFUSED, best: 0})
    assert morphology_section.first_page(lay_out(others)) is None
    assert first_page_of(written(tmp_path, others, make_pictures())).count("<li>") == 3


def test_limits_that_rest_on_no_cell_condemn_none(make_study: MakeStudy) -> None:
    results = make_study(refused=REFUSED)
    told = morphology_section.first_page(lay_out(results))
    assert told is not None
    assert told.endswith("Do not trust those cells.")
    unlearned = tuple(replace(check, limits_from=0) for check in results.guard)
    told = morphology_section.first_page(lay_out(replace(results, guard=unlearned)))
    assert told is not None
    assert told.endswith(
        "by the strictest limits, which even harmless blur exceeds: the target has too few held-out "
        "cells to learn others from. Look at the cells."
    )


@pytest.mark.parametrize(("limits", "told"), [(0, "too few held-out cells"), (35, "35 held-out cells")])
def test_what_the_limits_rest_on_is_said(limits: int, told: str, make_study: MakeStudy) -> None:
    results = make_study(refused=REFUSED)
    checks = tuple(replace(check, limits_from=limits) for check in results.guard)
    assert told in morphology_section.limits_sentence(lay_out(replace(results, guard=checks)))


def test_the_curve_names_every_tested_snapshot(make_study: MakeStudy) -> None:
    checks = morphology_section.tested_snapshots(lay_out(make_study(refused=REFUSED)))
    assert [check.snapshot for check in checks] == ["0010", "0015", "0020"]
    drawn = refusals_svg(checks)
    assert drawn == refusals_svg(checks)
    texts = {"".join(found.itertext()).strip() for found in ElementTree.fromstring(drawn).iter() if found.text}
    assert {"cyclegan 0010", "cyclegan 0015", "cyclegan 0020", "refused", "in doubt or refused"} <= texts


def test_a_choice_is_shown_with_its_reasons_as_text(
    tmp_path: Path, make_study: MakeStudy, make_pictures: MakePictures
) -> None:
    chosen = ChosenSnapshot("<b>epoch-0003</b> is best.", b"\x89PNG")
    write_study_report(make_study(), make_pictures(), tmp_path / "report.html", chosen)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = html[html.index(CHOICE) :]
    assert "&lt;b&gt;epoch-0003&lt;/b&gt; is best." in section
    assert 'src="data:image/png;base64,iVBORw=="' in section
    write_study_report(make_study(), make_pictures(), tmp_path / "report.html", ChosenSnapshot("None."))
    assert 'class="chosen"' not in (tmp_path / "report.html").read_text(encoding="utf-8")
