from collections.abc import Callable
from dataclasses import replace

import pytest

from hemabridge.errors import InputError
from hemabridge.evaluation.results import PairedTest, Row, StudyResults
from hemabridge.report import story
from hemabridge.report.layout import column_name, lay_out

MakeStudy = Callable[..., StudyResults]


def paired(rescued: int, broken: int, p_holm: float) -> PairedTest:
    return PairedTest("a", "r18", "cyclegan", "010", 0, rescued, broken, p_holm, p_holm)


HELPED, HARMED, CHANCE = paired(30, 5, 0.001), paired(5, 30, 0.001), paired(9, 4, 0.3)


def test_verdict_needs_a_corrected_p_below_the_level_and_a_direction() -> None:
    assert [story.verdict(test) for test in (HELPED, HARMED, CHANCE)] == ["helped", "harmed", "may be chance"]
    assert story.verdict(paired(20, 5, 0.05)) == "may be chance"
    assert story.verdict(paired(0, 0, 1.0)) == "may be chance"


@pytest.mark.parametrize(
    ("tests", "line"),
    [
        ([HELPED, CHANCE, CHANCE], "Re-staining helped in 1 of 3 comparisons."),
        ([HELPED], "Re-staining helped in 1 of 1 comparison."),
        ([HARMED, CHANCE], "Re-staining did harm in 1 of 2 comparisons."),
        ([HELPED, HARMED, HARMED], "Re-staining helped in 1 and did harm in 2 of 3 comparisons."),
        ([CHANCE, CHANCE], "Re-staining showed no clear effect in 2 comparisons."),
        ([], "Whether re-staining helps was not tested cell by cell."),
    ],
)
def test_headline_says_what_the_paired_tests_show(tests: list[PairedTest], line: str) -> None:
    assert story.headline(tests) == line


def test_the_answer_is_three_sentences_with_the_numbers_of_the_rows(make_study: MakeStudy) -> None:
    results = make_study()
    layout = lay_out(results)
    first, second, third = story.answer(layout)

    def span(labels: int, *, original: bool) -> str:
        rows = [r for r in results.rows if r.site == "Can Ruti" and r.labels_used == labels]
        values = [r.accuracy for r in rows if (r.images == "original") == original]
        return f"{100 * min(values):.1f}% to {100 * max(values):.1f}%"

    assert first == (
        f"5 classifiers that learned on images of Clinic classified {span(0, original=True)} of the 92 cells of "
        "Can Ruti correctly on the original images."
    )
    assert second == (
        "On the same cells re-stained, without using a single label of Can Ruti, they classified "
        f"{span(0, original=False)} correctly; after fine-tuning on 92 labeled original cells instead, "
        f"{span(92, original=True)}."
    )
    tests = [t for t in results.paired if t.labels_used == 0]
    helped = sum(t.p_holm < 0.05 and t.rescued > t.broken for t in tests)
    assert third.startswith(f"Compared cell by cell, re-staining helped in {helped} of 15 comparisons")


def test_columns_start_with_the_original_and_keep_the_order_of_the_results(make_study: MakeStudy) -> None:
    results = make_study()
    layout = lay_out(replace(results, rows=results.rows[::-1]))
    assert [column_name(column) for column in layout.columns] == [
        "original",
        "cyclegan 0020",
        "cyclegan 0015",
        "cyclegan 0010",
    ]
    assert (layout.source, layout.targets, layout.labels) == ("Can Ruti", ("Clinic",), (92,))
    assert layout.cells_per_class("Can Ruti")["reactive_lymphocyte"] == 12
    assert layout.cells_per_class("nowhere") == {}


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (("original", None), "original"),
        (("cyclegan", "images-00004000"), "cyclegan, 4,000 images"),
        (("cyclegan", "epoch-0015"), "cyclegan, epoch 15"),
        (("cyclegan", "0015"), "cyclegan 0015"),
        (("cyclegan", "images-4000x"), "cyclegan images-4000x"),
    ],
)
def test_a_column_is_named_for_readers(column: tuple[str, str | None], name: str) -> None:
    assert column_name(column) == name


def test_rows_that_say_the_same_thing_twice_are_refused(make_study: MakeStudy) -> None:
    results = make_study()
    with pytest.raises(InputError, match="some twice"):
        lay_out(replace(results, rows=(*results.rows, results.rows[0])))


def test_restained_images_of_two_sites_are_refused(make_study: MakeStudy) -> None:
    results = make_study()
    other = tuple(replace(row, site="third") for row in results.rows if row.images != "original")
    with pytest.raises(InputError, match="got 2 sites"):
        lay_out(replace(results, rows=(*results.rows, *other)))


def row(n: int, accuracy: float, **changes: object) -> Row:
    fixed = Row("a", "test", "r", "original", None, 0, n, accuracy, accuracy, {}, (0.0, 1.0), "none", 3)
    return replace(fixed, **changes)


def test_accuracies_cells_and_what_a_table_carries() -> None:
    rows = [row(92, 0.25), row(92, 0.5, mode="strict", seed=4)]
    assert story.accuracies(rows) == "25.0% to 50.0%"
    assert story.accuracies(rows[:1]) == "25.0%"
    assert story.accuracies([]) == "not measured"
    assert story.cells(rows) == "92 cells"
    assert story.cells([row(1, 1.0)]) == "1 cell"
    assert story.cells([row(30, 1.0), row(40, 1.0)]) == "30 or 40 cells"
    expected = "n = 92 cells; brackets: 95% Wilson interval; mode strict; seed 3, 4."
    assert story.carries(rows).replace("\u00a0", " ") == expected


def test_spread_takes_pictures_evenly() -> None:
    assert story.spread(list(range(8)), 4) == [0, 2, 4, 6]
    assert story.spread([1, 2], 4) == [1, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not known"),
        (True, "yes"),
        (36800, "36,800"),
        (2841.7, "2,841.7"),
        ([1, "b"], "1, b"),
        ({"torch": "2.9", "seen": 1000}, "torch: 2.9; seen: 1,000"),
    ],
)
def test_facts_in_words(value: object, text: str) -> None:
    assert story.fact_text(value) == text


def test_p_values_as_readers_expect_them() -> None:
    assert [story.p_text(p) for p in (0.0004, 0.001, 0.0499, 1.0)] == ["< 0.001", "0.001", "0.050", "1.000"]


def test_normalizers_and_the_translator_are_told_apart(make_study: MakeStudy) -> None:
    results = make_study()
    restained = [row for row in results.rows if row.snapshot == "0015" and row.labels_used == 0]
    normalized = tuple(replace(row, images="macenko", snapshot=None, accuracy=0.125) for row in restained)
    second = story.answer(lay_out(replace(results, rows=(*results.rows, *normalized))))[1]
    assert " (12.5% after other re-stainings in place of the translator)" in second
    assert second.index("12.5%") > second.index("they classified")


def test_a_table_shows_only_the_columns_that_were_measured(make_study: MakeStudy) -> None:
    results = make_study()
    kept = tuple(row for row in results.rows if row.labels_used == 0 or row.images == "original")
    layout = lay_out(replace(results, rows=kept))
    assert layout.measured(0) == layout.columns
    assert layout.measured(92) == (("original", None),)


def test_whether_labels_did_better_is_said_beside_the_headline(make_study: MakeStudy) -> None:
    assert story.labels_beside(lay_out(make_study())) == (
        "Fine-tuned on 92 labeled cells of Can Ruti instead, 5 of 5 classifiers classified more cells correctly than "
        "with the best re-staining without a label."
    )
    study = make_study(classifiers=["ResNet18"])
    worse = [replace(row, accuracy=0.1) if row.labels_used else row for row in study.rows]
    assert ", 0 of 1 classifier classified" in str(story.labels_beside(lay_out(replace(study, rows=tuple(worse)))))
    assert story.labels_beside(lay_out(make_study(labels=False))) is None
