"""What newer studies add to the report: leaderboard, curves, labels, galleries, audit. Present only with their data."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hemabridge.evaluation.leaderboard_entries import Flips, SnapshotContrast
from hemabridge.evaluation.results import StudyResults
from hemabridge.report import sentences
from hemabridge.report.curves import labels_svgs, reliability_svgs, risk_svgs
from hemabridge.report.layout import lay_out
from hemabridge.report.pictures import StudyPictures
from hemabridge.report.report import write_study_report

MakeStudy = Callable[..., StudyResults]
MakePictures = Callable[..., StudyPictures]

SECTIONS = {
    "Leaderboard": "leaderboard",
    "Do neighboring snapshots differ?": "contrasts",
    "How many labels a translator saves": "labels",
    "Calibration": "leaderboard",
    "Leaving doubtful cells to a person": "leaderboard",
    "Cells that were rescued and broken": "changed",
    "Drift towards the commonest class": "leaderboard",
    "Data audit": "audit",
}


class Headings(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "h2"
        if self._inside:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def written(tmp_path: Path, results: StudyResults, pictures: StudyPictures) -> str:
    write_study_report(results, pictures, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(make_study: MakeStudy) -> StudyResults:
    return make_study(board=True)


@pytest.fixture(scope="module")
def small(make_study: MakeStudy) -> StudyResults:
    return make_study(board=True, classifiers=("ResNet18", "ResNet34"))


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory, full: StudyResults, make_pictures: MakePictures) -> str:
    return written(tmp_path_factory.mktemp("report"), full, make_pictures(changed=True))


def test_every_section_is_there_with_its_data(html: str) -> None:
    assert set(SECTIONS) <= set(Headings(html).found)


@pytest.mark.parametrize("missing", [("leaderboard", "audit"), ("contrasts", "labels", "changed")], ids=" ".join)
def test_a_section_is_absent_without_its_data(
    missing: tuple[str, ...], tmp_path: Path, small: StudyResults, make_pictures: MakePictures
) -> None:
    results = replace(small, **{name: () for name in missing if name not in ("labels", "changed")})
    if "labels" in missing:
        kept = tuple(r for r in small.rows if r.labels_used in (0, 92))
        board = tuple(s for s in small.leaderboard if s.labels_used in (0, 92))
        results = replace(results, rows=kept, leaderboard=board, labels_saved=())
    if "leaderboard" in missing:  # variants stand only there
        results = replace(results, rows=tuple(r for r in small.rows if "AdaBN" not in r.classifier))
    found = set(Headings(written(tmp_path, results, make_pictures(changed="changed" not in missing))).found)
    absent = {title for title, data in SECTIONS.items() if data in missing}
    assert not absent & found
    assert set(SECTIONS) - absent <= found


def test_the_first_page_is_three_sentences_and_one_picture(html: str) -> None:
    first = html[html.index('<div class="first">') : html.index("<h2")]
    assert first.count("<li>") == 3
    assert first.count("<figure>") == 1
    assert "<table" not in first


def test_the_leaderboard_shows_each_label_free_line_once_best_first(html: str, full: StudyResults) -> None:
    board = html[html.index("<h2>Leaderboard") : html.index("With labels of")]
    free = [r for r in full.rows if r.site == "Can Ruti" and r.labels_used == 0]
    shown = [float(found) for found in re.findall(r"<td><b>([\d.]+)%</b>", board)]
    assert shown == sorted((round(100 * r.balanced_accuracy, 1) for r in free), reverse=True)
    assert board.count("AdaBN") == 1
    lines = sentences.board(lay_out(full), labels=False)
    assert [line.place for line in lines] == list(range(1, len(free) + 1))
    against = lines[0].entry.against
    assert against is not None
    assert f"<td>{against.rescued}, {against.broken}</td>" in board
    assert (
        f"[{sentences.points(against.accuracy_interval[0])}, {sentences.points(against.accuracy_interval[1])}]" in board
    )


def test_the_best_without_restaining_is_said_beside_the_best_with(full: StudyResults) -> None:
    free = [r for r in full.rows if r.site == "Can Ruti" and r.labels_used == 0]
    plain = max((r for r in free if r.images == "original"), key=lambda r: r.balanced_accuracy)
    restained = max((r for r in free if r.images != "original"), key=lambda r: r.balanced_accuracy)
    said = sentences.best_sentence(lay_out(full))
    assert said is not None
    assert f"on original images: {100 * plain.balanced_accuracy:.1f}% ({plain.classifier})" in said
    assert f"re-stained ones: {100 * restained.balanced_accuracy:.1f}% ({restained.classifier}, " in said


def test_variants_stand_on_the_leaderboard_only(full: StudyResults) -> None:
    layout = lay_out(full)
    assert "ResNet18, AdaBN" not in layout.classifiers
    assert len(layout.classifiers) == 5


def test_the_slider_needs_no_script_and_each_stop_has_its_rule(html: str) -> None:
    stops = re.findall(r'<input type="radio" name="wipe" id="(wipe-\d+)"', html)
    assert stops == [f"wipe-{stop}" for stop in range(11)]
    assert html.count(" checked>") == 1
    for place, stop in enumerate(stops):
        assert f".wipes:has(#{stop}:checked) {{ --x: {10 * place}%; }}" in html
    assert "<script" not in html


def test_the_paired_power_stands_beside_the_result(html: str, full: StudyResults) -> None:
    shown = [s.against.smallest_difference for s in full.leaderboard if s.against and s.labels_used == 0]
    low, high = (round(100 * f(v for v in shown if v is not None)) for f in (min, max))
    assert f"a difference of about {low} to {high} points would be shown" in " ".join(html.split())


def contrast(difference: float, p_holm: float, **changes: object) -> SnapshotContrast:
    fields = dict(classifier="ResNet18", labels_used=0, images="cyclegan", first="epoch-0015", second="epoch-0020")
    counts = dict(n=92, first_only=3, second_only=8, difference=difference, interval=(-0.1, 0.2), p=p_holm)
    return SnapshotContrast(**{**fields, **counts, "p_holm": p_holm, "smallest_difference": 0.1, **changes})


def test_whether_epochs_differ_is_said_with_its_interval(make_study: MakeStudy) -> None:
    layout = lay_out(replace(make_study(), contrasts=(contrast(0.054, 0.4), contrast(-0.02, 0.9))))
    assert sentences.contrast_sentences(layout) == [
        "cyclegan, epoch 15 and cyclegan, epoch 20 are not told apart by any of 2 classifiers (exact McNemar test, "
        "Holm-corrected over all 2 comparisons of neighbors, 5% level): \u22122.0 to +5.4 percentage points of "
        "accuracy. The 95% bootstrap intervals of the single comparisons, not corrected for their number, lie within "
        "\u221210.0 to +20.0 (n = 92, paired; one comparison alone would show about 10 points)."
    ]
    layout = lay_out(replace(make_study(), contrasts=(contrast(0.3, 0.001, smallest_difference=None),)))
    assert sentences.contrast_sentences(layout) == [
        "cyclegan, epoch 15 and cyclegan, epoch 20 differ under 1 of 1 classifier (exact McNemar test, 5% level): "
        "+30.0 percentage points of accuracy. The 95% bootstrap interval is \u221210.0 to +20.0 (n = 92, paired)."
    ]


def test_an_interval_beside_a_corrected_test_is_said_to_be_uncorrected(make_study: MakeStudy) -> None:
    # Alone this pair differs (p = 0.02, an interval without 0); after correction over two tests it does not.
    alone = contrast(0.08, 0.06, p=0.02, interval=(0.01, 0.15))
    (said,) = sentences.contrast_sentences(lay_out(replace(make_study(), contrasts=(alone, contrast(0.0, 1.0)))))
    assert "are not told apart by any of 2 classifiers (exact McNemar test, Holm-corrected over all 2 " in said
    assert "intervals of the single comparisons, not corrected for their number, lie within" in said
    assert said.endswith(" Taken alone, 1 of 2 would differ.")


def test_what_labels_are_worth_is_said_for_the_last_snapshot(full: StudyResults) -> None:
    found = sentences.labels_saved_sentences(lay_out(full))
    assert len(found) == 5
    assert all(" cyclegan 0020 without a label classifies " in sentence for sentence in found)
    worth = replace(full.labels_saved[2], labels=None, interval=(40.2, None))
    (said,) = sentences.labels_saved_sentences(lay_out(replace(full, labels_saved=(worth,))))
    assert said.endswith("on more than 92 labeled originals (95% interval: 40 to more than 92).")
    worth = replace(worth, labels=0.0, interval=(0.0, 0.2))
    (said,) = sentences.labels_saved_sentences(lay_out(replace(full, labels_saved=(worth,))))
    assert said.endswith("on fewer than 1 labeled originals (95% interval: fewer than 1).")


def test_flips_are_said_with_a_test() -> None:
    flips = Flips("neutrophil", 16, 3, 6, 4, 16 / 19, (0.6, 0.95), 0.004, 0.02)
    assert sentences.flips_verdict(flips) == "towards neutrophil"
    assert sentences.flips_verdict(replace(flips, towards=3, away=16)) == "away from neutrophil"
    assert sentences.flips_verdict(replace(flips, p_holm=0.05)) == "may be chance"


def test_panels_are_drawn_for_each_classifier_and_are_the_same_each_time(small: StudyResults) -> None:
    layout = lay_out(small)
    for draw in (reliability_svgs, risk_svgs, labels_svgs):
        drawn = draw(layout)
        assert tuple(drawn) == layout.classifiers
        assert draw(layout) == drawn
        text = "".join(ElementTree.fromstring(drawn["ResNet34"]).itertext())
        assert "ResNet34" in text
        assert "cyclegan 0020" in text


def test_points_have_a_sign() -> None:
    assert [sentences.points(value) for value in (0.123, -0.05, 0.0)] == ["+12.3", "\u22125.0", "+0.0"]
