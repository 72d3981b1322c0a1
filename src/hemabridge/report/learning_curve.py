"""The rare-class learning curve as SVG: the gain of a classifier by each arm, by the number of real cells."""

from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hemabridge.report.figures import MARKERS, ORIGINAL_COLOR, PALETTE, drawing_style, plain, svg_bytes
from hemabridge.synthesis.learning_curve import ARMS, LearningCurve, LearningCurveRow, Score

STYLES: Final = {
    arm: (ORIGINAL_COLOR, "o") if arm == "nothing" else (PALETTE[place - 1], MARKERS[place - 1])
    for place, arm in enumerate(ARMS)
}
"""Color and marker of each arm; arms with synthetic cells are drawn thicker."""

_SPREAD = 1.035


def learning_curve_svg(learning_curve: LearningCurve) -> bytes:
    """Draw balanced accuracy, and recall of the rare class, against the number of its real cells."""
    with drawing_style():
        figure = Figure(figsize=(10.8, 4.6), layout="constrained")
        panels = figure.subplots(1, 2)
        _draw(panels[0], learning_curve, "balanced_accuracy")
        _draw(panels[1], learning_curve, "recall")
        panels[0].set(ylabel="balanced accuracy")
        panels[1].set(ylabel=plain(f"recall of {learning_curve.rare}"))
        handles = [
            Line2D([], [], color=color, marker=marker, linewidth=_width(arm), label=plain(f"{arm}: {ARMS[arm]}"))
            for arm, (color, marker) in STYLES.items()
            if arm in learning_curve.arms
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=9)
        return svg_bytes(figure)


def _draw(axes: Axes, learning_curve: LearningCurve, measure: Literal["balanced_accuracy", "recall"]) -> None:
    for place, arm in enumerate(learning_curve.arms):
        color, marker = STYLES[arm]
        rows = [row for real in learning_curve.reals if (row := learning_curve.row(real, arm)) is not None]
        # Side by side, so that no interval hides another.
        shift = _SPREAD ** (place - (len(learning_curve.arms) - 1) / 2)
        xs = [row.real * shift for row in rows]
        scores = [_score(row, measure) for row in rows]
        for x, score in zip(xs, scores, strict=True):
            axes.plot([x, x], score.interval, color=color, linewidth=1.2, alpha=0.55)
        axes.plot(xs, [s.value for s in scores], color=color, marker=marker, markersize=5, linewidth=_width(arm))
    axes.set_xscale("log")
    axes.set_xticks(learning_curve.reals, [str(real) for real in learning_curve.reals])
    axes.minorticks_off()
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set(xlabel=plain(f"real cells of {learning_curve.rare}"))


def _score(row: LearningCurveRow, measure: Literal["balanced_accuracy", "recall"]) -> Score:
    return row.balanced_accuracy if measure == "balanced_accuracy" else row.recall


def _width(arm: str) -> float:
    return 2.4 if "synthetic" in arm else 1.2
