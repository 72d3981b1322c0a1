import base64
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from hemabridge.errors import InputError
from hemabridge.evaluation.home_failure import Explanation, HomeFailure
from hemabridge.evaluation.results import StudyResults
from hemabridge.report.html import group_facts, with_code
from hemabridge.report.pictures import StudyPictures
from hemabridge.report.report import write_study_report

MakeStudy = Callable[..., StudyResults]
MakePictures = Callable[..., StudyPictures]

VOID = {"meta", "img", "wbr", "br", "hr", "link", "input"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x onerror=alert(1)>',
    "{{ 7*7 }}{% raw %} $x_{ \\frac",
    "_细胞 \u202egnp\x01\n&amp;",
)


class Page(HTMLParser):
    """All that a test asks of a page: tags, attributes, text, the cells of each table, unbalanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.tables, self.open, self.unbalanced = "", [], [], []
        self.feed(html)
        self.unbalanced += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open[-2:]) or self.open[-1:] in (["td"], ["th"]):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def write(tmp_path: Path, make_pictures: MakePictures) -> Callable[..., str]:
    def write_and_read(results: StudyResults, pictures: StudyPictures | None = None) -> str:
        out = tmp_path / "report.html"
        write_study_report(results, make_pictures() if pictures is None else pictures, out)
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        return out.read_text(encoding="utf-8")

    return write_and_read


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory, make_study: MakeStudy, make_pictures: MakePictures) -> str:
    """The report of the study that `make_study()` makes."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_study_report(make_study(), make_pictures(), out)
    return out.read_text(encoding="utf-8")


def flat(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").split())


def svgs(page: Page) -> list[bytes]:
    sources = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    return [base64.b64decode(s.partition(",")[2]) for s in sources if s.startswith("data:image/svg+xml")]


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    page = Page(html)
    assert page.unbalanced == []
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attrs.get(name, "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attrs)
    assert re.findall(r"https?:|url\(|@import", html) == []
    policies = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_table_1_is_the_papers_table_4_with_intervals(html: str, make_study: MakeStudy) -> None:
    results = make_study()
    table = Page(html).tables[0]
    assert [flat(cell) for cell in table[0]] == [
        "classifier",
        "original",
        "cyclegan 0010",
        "cyclegan 0015",
        "cyclegan 0020",
    ]
    by_key = {(r.classifier, r.snapshot): r for r in results.rows if r.site == "Can Ruti" and r.labels_used == 0}
    assert [flat(line[0]) for line in table[1:]] == [
        "ResNet18",
        "ResNet18 focal",
        "ResNet34",
        "ResNet34 focal",
        "MobileNetV2",
    ]
    for line in table[1:]:
        for cell, snapshot in zip(line[1:], (None, "0010", "0015", "0020"), strict=True):
            row = by_key[flat(line[0]), snapshot]
            assert flat(cell) == (
                f"{100 * row.accuracy:.1f}% [{100 * row.interval[0]:.1f}%, {100 * row.interval[1]:.1f}%] "
                f"balanced {100 * row.balanced_accuracy:.1f}%"
            )


def test_table_2_holds_every_label_free_paired_test(html: str, make_study: MakeStudy) -> None:
    results = make_study()
    table = Page(html).tables[1]
    shown = [[int(cell) for cell in line[-5:-3]] for line in table[1:]]
    assert shown == [[t.rescued, t.broken] for t in results.paired if t.labels_used == 0]
    assert {flat(line[-1]) for line in table[1:]} <= {"helped", "harmed", "may be chance"}


def test_table_3_holds_the_recall_of_every_class_with_its_n(html: str, make_study: MakeStudy) -> None:
    results = make_study()
    table = Page(html).tables[2]
    assert [flat(cell) for cell in table[0][-4:]] == [
        "neutrophil n = 30",
        "lymphocyte n = 25",
        "reactive_lymphocyte n = 12",
        "blast n = 25",
    ]
    rows = [r for r in results.rows if r.site == "Can Ruti" and r.labels_used == 0]
    assert [[flat(cell) for cell in line[-4:]] for line in table[1:]] == [
        [f"{100 * value:.1f}%" for value in row.recall.values()] for row in rows
    ]


def test_every_table_of_accuracies_says_n_interval_mode_and_seed(html: str) -> None:
    text = flat(Page(html).text)
    assert text.count("n = 92 cells; brackets: 95% Wilson interval; mode strict; seed 3.") == 4
    assert text.count("n = 92 cells; brackets: 95% Wilson interval; no translator involved; seed 3.") == 1


def test_the_page_says_all_that_a_reader_must_know(html: str) -> None:
    text = flat(Page(html).text)
    for said in (
        "Not for diagnosis",
        "n = 92: unpaired differences under about 21 percentage points cannot be told apart",
        "Strict: the translator had never seen any of the scored images",
        "92 labels + fine-tuning",
        "Held-out cells of Clinic",
        "not picked by its score",
        "PSNR",
        "ΔE2000",
        "36,800",
        'preset = "cyclegan-cpu"',
        "not known",
        "seconds (9)",
    ):
        assert said in text


def test_the_closeness_table_holds_the_numbers(html: str) -> None:
    tables = Page(html).tables
    found = [table for table in tables if "ΔE2000" in table[0][-1]]
    assert [[flat(cell) for cell in line] for line in found[0][1:]] == [
        ["original", "92", "16.2", "14.8"],
        ["cyclegan 0010", "92", "24.0", "6.5"],
        ["cyclegan 0015", "92", "25.0", "5.5"],
        ["cyclegan 0020", "92", "26.0", "4.5"],
    ]


def test_confusion_rows_are_normalized(html: str) -> None:
    tables = Page(html).tables
    matrices = [table for table in tables if [flat(cell) for cell in table[0]] == ["", "1", "2", "3", "4"]]
    assert len(matrices) == 5 * 4
    for matrix in matrices:
        sums = np.array([[float(cell) for cell in line[1:]] for line in matrix[1:]]).sum(axis=1)
        assert sums == pytest.approx(np.ones(4), abs=0.021)


def test_every_picture_is_shown_as_it_is(html: str) -> None:
    page = Page(html)
    cells = [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("class") == "cell"]
    assert len(cells) == 3 * 4 + 8 * 5 + 8 + 8  # the picture on top, the strips, the target's cells, the slider
    over = [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("class") == "cell over"]
    assert len(over) == 8
    assert all((attrs["src"] or "").startswith("data:image/png;base64,") and attrs["alt"] for attrs in cells)


def test_hostile_names_stay_text(write: Callable[..., str], make_study: MakeStudy, make_pictures: MakePictures) -> None:
    names = [f"{index}{name}" for index, name in enumerate(HOSTILE)]
    results = make_study(source=HOSTILE[0], target=HOSTILE[1], classes=names, classifiers=[*HOSTILE])
    results = replace(results, name=HOSTILE[1], facts={HOSTILE[0]: HOSTILE[1], "nested": {HOSTILE[1]: [HOSTILE[0]]}})
    html = write(results, make_pictures(classes=names))
    page = Page(html)
    assert page.unbalanced == []
    assert not {"script"} & {tag for tag, _ in page.tags}
    assert all((attrs.get("src") or "data:").startswith("data:") for _, attrs in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    for svg in svgs(page):
        root = ElementTree.fromstring(svg)
        assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_undecodable_names_do_not_stop_the_report(write: Callable[..., str], make_study: MakeStudy) -> None:
    results = make_study(source="site \udcff", classifiers=["net \udc80"])
    assert "site ?" in write(results)


def test_the_same_results_give_the_same_bytes(html: str, write: Callable[..., str], make_study: MakeStudy) -> None:
    assert write(make_study()) == html


def test_a_lean_study_is_reported_too(write: Callable[..., str], make_study: MakeStudy) -> None:
    results = replace(make_study(labels=False, truth=False, classifiers=["only"]), confusions=(), facts={})
    text = flat(Page(write(results, StudyPictures((), ())).replace("\n", " ")).text)
    assert "The classifier that learned on images of Clinic" in text
    assert "No classifier was fine-tuned on labels of Can Ruti." in text
    assert "ground truth" not in text
    assert "What is mistaken for what" not in text


def test_a_transductive_study_says_so(write: Callable[..., str], make_study: MakeStudy) -> None:
    text = flat(Page(write(make_study(seen=("a",)))).text)
    assert "Transductive: the translator had seen scored images" in text
    assert "mode transductive; seed 3" in text
    assert "Strict:" not in text


def test_a_study_without_restained_images_leaves_no_file(tmp_path: Path, make_study: MakeStudy) -> None:
    results = make_study()
    results = replace(results, rows=tuple(r for r in results.rows if r.images == "original"), paired=())
    with pytest.raises(InputError, match="re-stained images of one site"):
        write_study_report(results, StudyPictures((), ()), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_facts_are_folded_only_where_there_are_many() -> None:
    many = {f"seconds, {i}": i for i in range(5)}
    facts = {"a": 1, "cells, train": 2, "cells, test": 3, **many}
    assert group_facts(facts) == [
        ("", [("a", 1), ("cells, train", 2), ("cells, test", 3)]),
        ("seconds", [(str(i), i) for i in range(5)]),
    ]


@pytest.mark.slow
def test_the_report_needs_no_torch() -> None:
    code = "import sys, hemabridge.report.report; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_what_scrolls_sideways_can_be_reached_by_keyboard() -> None:
    """WCAG 2.1.1: browsers differ in whether they let Tab reach a scrolling part by themselves."""
    templates = resources.files("hemabridge.report") / "templates"
    with resources.as_file(templates) as folder:
        parts = [
            tag for path in folder.rglob("*.j2") for tag in re.findall(r"<div class=\"scroll[^>]*>", path.read_text())
        ]
    assert len(parts) > 20
    assert [tag for tag in parts if 'tabindex="0"' not in tag] == []


def test_the_first_page_shows_cells_from_the_whole_list_of_classes(
    write: Callable[..., str], make_study: MakeStudy, make_pictures: MakePictures
) -> None:
    pictures = make_pictures(per_class=2)
    cells = tuple(replace(cell, true_class=f"class {place}") for place, cell in enumerate(pictures.cells))
    page = write(make_study(), replace(pictures, cells=cells))
    figure = page[page.index('class="hero"') : page.index("One cell per class")]
    assert re.findall('alt="original (.*?)"', figure) == ["class 0", "class 2", "class 4", "class 6"]


def test_a_classifier_that_fails_at_its_own_hospital_is_the_first_sentence(
    make_study: MakeStudy, make_pictures: MakePictures, tmp_path: Path
) -> None:
    bgr = Explanation('channels = "bgr"', "its channels are blue, green, red", 0.97, True)
    failure = HomeFailure("ResNet18", "Clinic", 92, 0.2, 0.25, (bgr,))
    results = replace(make_study(), home=(failure,))
    write_study_report(results, make_pictures(), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(html).unbalanced == []
    text = " ".join(Page(html[html.index("<header>") :]).text.split())
    first = text.index("ResNet18 fails at its own hospital: balanced accuracy 20.0% on 92 cells of Clinic")
    assert 'The likely cause: its channels are blue, green, red (channels = "bgr" gives 97.0%).' in text
    assert first < text.index("Re-staining")
    assert first < html.index("<h1>") - html.index("<header>")


def test_code_in_a_sentence_is_marked_and_nothing_else_is_html() -> None:
    assert with_code("See `a <b>` & c.") == "See <code>a &lt;b&gt;</code> &amp; c."
