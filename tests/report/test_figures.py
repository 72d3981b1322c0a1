from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from hemabridge.evaluation.results import StudyResults
from hemabridge.report.figures import MARKERS, PALETTE, accuracy_svg, column_style, loss_svg, plain
from hemabridge.report.layout import lay_out
from hemabridge.report.pictures import LossCurve

MakeStudy = Callable[..., StudyResults]
TEXT = "{http://www.w3.org/2000/svg}text"


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(TEXT)]


def test_the_accuracy_figure_names_every_classifier_and_column(make_study: MakeStudy) -> None:
    shown = texts(accuracy_svg(lay_out(make_study())))
    for name in (
        "ResNet18",
        "ResNet34 focal",
        "MobileNetV2",
        "original",
        "cyclegan 0015",
        "hollow: fine-tuned on labels",
    ):
        assert name in shown
    assert shown.count("92 labels + fine-tuning") == 5
    assert shown.count("own cells of Clinic") == 5


def test_figures_hold_names_that_are_no_markup_and_no_formula() -> None:
    names = ("a $b_{", "<b>&", "_hidden", "tab\tnul\x00")
    curves = tuple(LossCurve(name, (0, 10, 20), (1.0, 0.5, 0.2)) for name in names)
    shown = texts(loss_svg(curves))
    for name in ("a $b_{", "<b>&", "\u200b_hidden", "tab\ufffdnul\ufffd"):
        assert name in shown


def test_each_restaining_has_a_style_of_its_own(make_study: MakeStudy) -> None:
    layout = lay_out(make_study())
    styles = [column_style(layout, column) for column in layout.columns]
    assert styles[0] == ("#000000", "o")
    assert len(set(styles)) == len(styles)


def test_colors_and_markers_do_not_repeat_together_for_dozens_of_columns() -> None:
    styles = [(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i in range(50)]
    assert len(set(styles)) == 50


def test_plain_leaves_ordinary_names() -> None:
    assert plain("ResNet34 focal, 细胞") == "ResNet34 focal, 细胞"


def test_a_loss_curve_needs_a_value_for_each_point() -> None:
    with pytest.raises(ValueError, match="got 1 for 2"):
        LossCurve("cycle", (0, 1), (0.5,))
