"""The report of a synthesis: what it says, shows and forbids."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_results import direction_of, share, synthesis_of

from hemabridge.report import synthesis_story as story
from hemabridge.report.report import write_synthesis_report
from hemabridge.report.synthesis_pictures import DirectionPictures, EpochCells, NearCell, shapes_svg
from hemabridge.synthesis.pair_results import Direction, Estimate, SynthesisResults

CELLS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def pictures(results: SynthesisResults) -> dict[str, dict[Direction, DirectionPictures]]:
    epochs = (EpochCells("epoch 1", False, CELLS, CELLS), EpochCells("epoch 2", True, CELLS, CELLS))
    return {
        pair.name: {
            found.direction: DirectionPictures(
                CELLS, epochs, CELLS, tuple(NearCell(near, CELLS[0], CELLS[1]) for near in found.copies.shown())
            )
            for found in pair.directions
        }
        for pair in results.pairs
    }


class _Page(HTMLParser):
    """What a browser would show and load."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.sources += [named["src"] or ""] if "src" in named else []
        self.links += [named["href"] or ""] if "href" in named else []
        self.ids += [named["id"] or ""] if "id" in named else []

    def handle_data(self, data: str) -> None:
        self.text += data


def written(results: SynthesisResults, folder: Path) -> tuple[_Page, str]:
    write_synthesis_report(results, pictures(results), folder / "report.html")
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    return page, " ".join(unescape(page.text).split())


def test_the_page_says_the_numbers_and_the_warning(tmp_path: Path) -> None:
    page, text = written(synthesis_of(), tmp_path)
    assert (
        "In 0 of 2 directions the scoring classifier gives at least 90% of the synthetic cells the intended class"
        in text
    )
    assert "95.0% [76.4%, 99.1%]" in text
    assert "1 of 20 is a copy of training cells" in text
    assert "from a/1.png" in text
    assert "epoch 2: synthetic blast (scored)" in text
    for sentence in story.WARNING:
        assert sentence in text
    assert page.ids == ["pair-1"]
    assert page.links == ["#pair-1"]


def test_all_is_in_the_file_and_the_browser_may_fetch_nothing(tmp_path: Path) -> None:
    page, _ = written(synthesis_of(), tmp_path)
    # Of each direction: six rows of three cells, one figure, two pairs of near cells.
    assert len(page.sources) == 2 * (6 * 3 + 1 + 2 * 2)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not {"script", "iframe", "link", "object"} & set(page.tags)
    assert "default-src 'none'" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_names_are_shown_as_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    page, text = written(synthesis_of(source_class=hostile), tmp_path)
    assert "script" not in page.tags
    assert hostile in text


def test_a_direction_without_shapes_has_no_figure(tmp_path: Path) -> None:
    page, text = written(synthesis_of(shapes=()), tmp_path)
    assert len(page.sources) == 2 * (6 * 3 + 2 * 2) + 1
    assert "Shape of the nucleus" in text


@pytest.mark.parametrize(
    ("intended", "copies", "good"), [(18, 0, True), (17, 0, False), (20, 1, False)], ids=["both", "class", "copies"]
)
def test_cells_are_good_if_of_their_class_and_hardly_ever_copies(intended: int, copies: int, good: bool) -> None:
    check = direction_of().copies
    changed = type(check)(**{**vars(check), "synthetic": share(copies, 20)})
    assert story.is_good(direction_of(intended=share(intended, 20), copies=changed)) is good


def test_the_distance_is_told_against_the_floor() -> None:
    assert "farther from real cells than two sets" in story.distance_sentence(direction_of())
    near = direction_of(kid=Estimate(0.01, (-0.02, 0.03)))
    assert "not shown to be farther" in story.distance_sentence(near)


@pytest.mark.parametrize(("value", "told"), [(0, "0.000"), (0.25, "0.250"), (-4.01234, "-4.012"), (0.00012, "1.2e-04")])
def test_numbers_keep_their_first_digits(value: float, told: str) -> None:
    assert story.number(value) == told


def test_the_figure_is_drawn_of_all_measures_and_is_the_same_each_time() -> None:
    found = direction_of()
    svg = shapes_svg(found).decode()
    assert svg == shapes_svg(found).decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"real lymphocyte", "synthetic blast", "real blast", story.SHAPE_WORDS["nucleus_area"]} <= set(texts)


def test_an_epoch_of_other_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="epoch 3"):
        DirectionPictures(CELLS, (EpochCells("epoch 3", False, CELLS[:2], CELLS),), CELLS, ())
