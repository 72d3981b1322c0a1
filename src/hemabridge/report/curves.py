"""Curves of the report as SVG: calibration, risk-coverage, accuracy by number of labels, refusals of the guard."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hemabridge.evaluation.results import MorphologyCheck
from hemabridge.metrics.statistics import wilson_interval
from hemabridge.report.figures import PALETTE, column_style, drawing_style, plain, svg_bytes
from hemabridge.report.layout import ORIGINAL, Column, Layout, column_name

PANEL_INCHES = (3.6, 3.4)
GRID = "#dddddd"


def reliability_svgs(layout: Layout) -> dict[str, bytes]:
    """Draw a reliability diagram of each classifier: accuracy by confidence, for originals and the last re-staining."""

    def draw(axes: Axes, classifier: str) -> None:
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
        for column in compared(layout):
            entry = layout.entry(classifier, column)
            if entry is not None:
                color, marker = column_style(layout, column)
                bins = entry.calibration.bins
                axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=color, linewidth=1.2)
                sizes = [12 + 160 * b.n / sum(b.n for b in bins) for b in bins]
                axes.scatter(
                    [b.confidence for b in bins], [b.accuracy for b in bins], sizes, color=color, marker=marker
                )
        axes.set(xlim=(0, 1.02), ylim=(-0.03, 1.03))
        _percents(axes, "x")
        _percents(axes, "y")

    return _panels(layout, draw, "confidence of the classifier", "accuracy", compared(layout))


def risk_svgs(layout: Layout) -> dict[str, bytes]:
    """Draw a risk-coverage curve of each classifier: error by the share of cells that it classifies."""

    def draw(axes: Axes, classifier: str) -> None:
        for column in compared(layout):
            entry = layout.entry(classifier, column)
            if entry is not None:
                color, marker = column_style(layout, column)
                coverage, risk = zip(*entry.risk_curve, strict=True)
                axes.plot(coverage, risk, color=color, marker=marker, markersize=3.5, linewidth=1.4)
        axes.set(xlim=(0, 1.02), ylim=(0, None))
        _percents(axes, "x")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")

    return _panels(layout, draw, "cells that the classifier decides", "classified wrongly", compared(layout))


def labels_svgs(layout: Layout) -> dict[str, bytes]:
    """Draw accuracy against the number of labeled cells that a classifier was fine-tuned on."""
    columns = compared(layout)

    def draw(axes: Axes, classifier: str) -> None:
        for place, column in enumerate(columns):
            rows = [layout.row(classifier, column, labels) for labels in (0, *layout.labels)]
            found = [row for row in rows if row is not None]
            color, marker = column_style(layout, column)
            shift = 0.6 * (place - (len(columns) - 1) / 2)
            for row in found:
                axes.plot([row.labels_used + shift] * 2, row.interval, color=color, linewidth=1.2, alpha=0.55)
            xs = [row.labels_used + shift for row in found]
            axes.plot(xs, [row.accuracy for row in found], color=color, marker=marker, markersize=5, linewidth=1.4)
            free = layout.row(classifier, column)
            if column[0] != ORIGINAL and free is not None:
                axes.axhline(free.accuracy, color=color, linewidth=1, linestyle="--")
        axes.set(ylim=(0, 1.03))
        axes.set_xticks([0, *layout.labels])
        _percents(axes, "y")

    return _panels(layout, draw, "labeled cells", "classified correctly", columns)


def refusals_svg(checks: Sequence[MorphologyCheck]) -> bytes:
    """Draw the share of cells that the morphology guard refused, or warned of, at each tested snapshot."""
    places = range(len(checks))
    with drawing_style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        warned = [(check.refused + check.warned) / check.n for check in checks]
        axes.plot(
            places, warned, color=PALETTE[1], marker="o", linewidth=1.4, linestyle="--", label="in doubt or refused"
        )
        refused = [check.refused / check.n for check in checks]
        for place, check in enumerate(checks):
            axes.plot([place] * 2, wilson_interval(check.refused, check.n), color=PALETTE[5], linewidth=1.2, alpha=0.55)
        axes.plot(places, refused, color=PALETTE[5], marker="s", linewidth=1.8, label="refused")
        names = [column_name((check.images, check.snapshot)) for check in checks]
        axes.set_xticks(places, [plain(name.rpartition(", ")[2] or name) for name in names])
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.4, len(checks) - 0.6), ylabel="cells")
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        _percents(axes, "y")
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
        return svg_bytes(figure)


def compared(layout: Layout) -> list[Column]:
    """Return the columns that the curves compare: originals and the last re-staining."""
    last = layout.last_column()
    return [column for column in layout.columns if column in ((ORIGINAL, None), last)]


def _panels(
    layout: Layout, draw: Callable[[Axes, str], None], x: str, y: str, columns: Sequence[Column]
) -> dict[str, bytes]:
    """Draw one SVG for each classifier, so that a narrow screen can show them one below the other."""
    return {
        name: _panel(layout, draw, name, (x, y), columns) for name in layout.classifiers if layout.has_rows(name, 0)
    }


def _panel(
    layout: Layout, draw: Callable[[Axes, str], None], name: str, labels: tuple[str, str], columns: Sequence[Column]
) -> bytes:
    with drawing_style():
        figure = Figure(figsize=PANEL_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes, name)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        figure.suptitle(plain(name), fontsize=10, x=0.02, ha="left", fontweight="bold")
        styles = [column_style(layout, column) for column in columns]
        handles = [
            Line2D([], [], color=color, marker=marker, label=plain(column_name(column)))
            for column, (color, marker) in zip(columns, styles, strict=True)
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
        return svg_bytes(figure)


def _percents(axes: Axes, which: str) -> None:
    ticks = [0, 0.25, 0.5, 0.75, 1.0]
    labels = ["0%", "25%", "50%", "75%", "100%"]
    (axes.set_xticks if which == "x" else axes.set_yticks)(ticks, labels)
