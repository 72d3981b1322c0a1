import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hemabridge.models.selection_file import Selection
from hemabridge.selection.choice_in_words import why
from hemabridge.selection.choice_picture import CHOSEN, UNFIT, pareto_front, pareto_png
from hemabridge.selection.rule import RuleConfig

MakeRow = Callable[..., object]
RULE = RuleConfig(most_refused=0.25)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def shows(picture: np.ndarray, color: str) -> bool:
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=2) < 3).any())


def test_the_front_is_what_no_other_beats(make_row: MakeRow) -> None:
    places = {"a": (0.5, 0.9), "b": (0.4, 0.8), "c": (0.45, 0.8), "d": (0.3, 0.7), "e": (0.5, 0.85)}
    rows = tuple(make_row(name, stain=stain, refused=1 - kept) for name, (stain, kept) in places.items())
    assert pareto_front(rows) == {"a", "b", "d"}  # type: ignore[arg-type]


def test_the_picture_is_drawn_and_always_the_same(selection: Selection) -> None:
    png = pareto_png(selection, 0.25)
    assert png == pareto_png(selection, 0.25)
    picture = pixels(png)
    assert picture.shape[0] > 300
    assert shows(picture, CHOSEN)
    assert shows(picture, UNFIT)


def test_without_a_choice_it_is_drawn_too(selection: Selection) -> None:
    none = replace(selection, chosen=None, alike=(), run="costs $5 and $6 年")
    assert not np.array_equal(pixels(pareto_png(none, 0.25)), pixels(pareto_png(selection, 0.25)))


def test_the_reasons_name_numbers_and_rivals(make_row: MakeRow) -> None:
    rows = [make_row("a", stain=0.31, kept=0.91, won=0.62), make_row("b"), make_row("c", refused=0.5)]
    text = why(rows[0], ("b",), rows, RULE)  # type: ignore[arg-type]
    for told in (
        "a is the best of the 2 of 3 snapshots",
        "(of this one 4%)",
        "0.31 times",
        "structure, 0.91",
        "62%",
        "cannot tell it from b.",
    ):
        assert told in text
    assert "all 2 snapshots" in why(rows[0], (), rows[:2], RULE)  # type: ignore[arg-type]


def test_the_reasons_name_what_left_others_out(make_row: MakeRow) -> None:
    chosen = make_row("a")
    unread, lost = make_row("b", readers=0.5, fit=False), make_row("c", kept=0.4, fit=False)
    tints = make_row("e", tinted=0.12, fit=False)
    guard = "of which the morphology guard refuses at most 25% of the cells"
    for rows, told in (
        ([chosen, unread, unread], f"the 1 of 3 snapshots that readers did not refuse, and {guard}"),
        ([chosen, lost], f"the 1 of 2 snapshots that keep at least 0.50 of the structure, and {guard}"),
        ([chosen, unread, lost], f"that keep at least 0.50 of the structure, that readers did not refuse, and {guard}"),
        ([chosen, tints], f"the 1 of 2 snapshots that leave empty glass clean, and {guard}"),
        ([chosen, make_row("d", refused=0.5)], f"the 1 of 2 snapshots {guard}"),
        ([chosen, chosen], f"all 2 snapshots {guard}"),
    ):
        assert told in why(chosen, (), rows, RULE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"stain": 1.2}, "no nearer to the target than the originals"),
        ({"error": 0.125}, "misclassify 12.5% of its labeled cells"),
        ({"readers": 0.5}, "Readers refused a"),
        ({"tinted": 0.12}, "Blotches of color on the empty glass of more than 5% of the cells are drawn by a."),
        ({"kept": 0.4}, "Less than 0.50 of the structure is kept by a."),
    ],
)
def test_the_reasons_warn(make_row: MakeRow, row: dict[str, float], told: str) -> None:
    rows = [make_row("a", **row)]
    assert told in why(rows[0], (), rows, RULE)  # type: ignore[arg-type]


def test_where_none_can_be_used_the_reasons_say_what_to_do(make_row: MakeRow) -> None:
    rows = [make_row("a", refused=0.5), make_row("b", refused=0.4)]
    text = why(None, (), rows, RULE)  # type: ignore[arg-type]
    assert "refuses more than 25% of the cells; the least is 40%, of b" in text
    assert "normalizer" in text
    blank = [make_row("a", kept=0.4, refused=0.0), make_row("b", kept=0.1, refused=0.0)]
    assert "no snapshot keeps 0.50 of the structure; the most is 0.40." in why(None, (), blank, RULE)  # type: ignore[arg-type]
    tinted = [make_row("a", tinted=0.2), make_row("b", tinted=0.11), make_row("c", refused=0.9)]
    assert "the empty glass of more than 5% of the cells; the least is 11%" in why(None, (), tinted, RULE)  # type: ignore[arg-type]
    refused = [make_row("a", kept=0.9, readers=0.1)]
    assert "readers refused every snapshot" in why(None, (), refused, RULE)  # type: ignore[arg-type]
