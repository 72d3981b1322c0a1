from xml.etree import ElementTree

import numpy as np
import pytest

from hemabridge.report.learning_curve import STYLES, learning_curve_svg
from hemabridge.synthesis.learning_curve import ARMS, LearningCurve, score_arms

SVG = "{http://www.w3.org/2000/svg}"
TRUTH = np.repeat([0, 1], [10, 10])


@pytest.fixture
def learning_curve() -> LearningCurve:
    rng = np.random.default_rng(0)
    rows = [
        row
        for real in (5, 20)
        for row in score_arms(TRUTH, {arm: rng.random((2, 20)) < 0.7 for arm in ARMS}, 1, real=real, added={})
    ]
    return LearningCurve("<b>rare $x", "a", ("a", "<b>rare $x"), {"a": 10}, {"a": 10}, 100, 50, (0, 1), tuple(rows))


def test_every_arm_has_a_style_of_its_own() -> None:
    assert list(STYLES) == list(ARMS)
    assert len(set(STYLES.values())) == len(ARMS)


def test_the_curve_names_arms_numbers_and_the_class_as_text(learning_curve: LearningCurve) -> None:
    svg = learning_curve_svg(learning_curve)
    shown = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    for arm, text in ARMS.items():
        assert f"{arm}: {text}" in shown
    assert shown.count("real cells of <b>rare $x") == 2
    assert "recall of <b>rare $x" in shown
    assert (shown.count("5"), shown.count("20")) == (2, 2)
    assert learning_curve_svg(learning_curve) == svg


def test_arms_that_were_not_tried_are_not_named(learning_curve: LearningCurve) -> None:
    few = tuple(row for row in learning_curve.rows if row.arm in ("nothing", "synthetic"))
    svg = learning_curve_svg(LearningCurve(**{**vars(learning_curve), "rows": few})).decode()
    assert "synthetic: synthetic cells added" in svg
    assert "oversampled" not in svg
