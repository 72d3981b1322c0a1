"""Figures of the report as SVG. They are drawn without a display; the same results give the same bytes.

Colors are those of Okabe and Ito (2008), which readers with any color vision tell apart; markers differ too.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hemabridge.evaluation.results import Row
from hemabridge.report.layout import ORIGINAL, Column, Layout, column_name
from hemabridge.report.pictures import LossCurve

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F")
MARKERS = ("s", "^", "D", "v", "P", "X", "h", "<")
ORIGINAL_COLOR, TARGET_COLOR = "#000000", "#777777"
WIDTH_INCHES, LINE_INCHES = 10.8, 0.18


@dataclass(frozen=True)
class _Line:
    """One line of the accuracy figure: a row, its style, and the text beside it if it begins a block."""

    row: Row
    color: str
    marker: str
    filled: bool
    text: str = ""


def accuracy_svg(layout: Layout) -> bytes:
    """Draw every accuracy with its interval on one axis: target site, label-free, and after fine-tuning on labels."""
    blocks = [_block(layout, classifier) for classifier in layout.classifiers]
    heights = [len(lines) + 2 for lines in blocks]
    with drawing_style():
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) * LINE_INCHES + 1.2), layout="constrained")
        axes = figure.add_subplot()
        top, ticks = 0, []
        for classifier, lines, height in zip(layout.classifiers, blocks, heights, strict=True):
            axes.text(0.0, top, plain(classifier), fontweight="bold", va="center", ha="left", fontsize=10)
            for offset, line in enumerate(lines, start=1):
                _draw(axes, line, top + offset)
                if line.text:
                    ticks.append((top + offset, plain(line.text)))
            top += height
        axes.set_yticks([y for y, _ in ticks], [text for _, text in ticks])
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(0, 1.005), ylim=(top - 0.5, -0.8), xlabel="cells classified correctly")
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0%", "20%", "40%", "60%", "80%", "100%"])
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        figure.legend(handles=_legend(layout), loc="outside upper left", ncols=3, frameon=False)
        return svg_bytes(figure)


def loss_svg(curves: tuple[LossCurve, ...]) -> bytes:
    """Draw the training losses over images seen."""
    with drawing_style():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for index, curve in enumerate(curves):
            style = ("-", "--", "-.", ":")[index % 4]
            color = PALETTE[index % len(PALETTE)]
            axes.plot(curve.images_seen, curve.values, style, color=color, label=plain(curve.name), linewidth=1.5)
        axes.set(xlabel="images seen per site", ylabel="loss")
        axes.grid(color="#dddddd", linewidth=0.7)
        figure.legend(loc="outside upper left", ncols=3, frameon=False)
        return svg_bytes(figure)


def column_style(layout: Layout, column: Column) -> tuple[str, str]:
    """Return color and marker of a column: circles in black for originals, a pair of its own for each re-staining."""
    if column == (ORIGINAL, None):
        return ORIGINAL_COLOR, "o"
    place = [c for c in layout.columns if c[0] != ORIGINAL].index(column)
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]


def plain(name: str) -> str:
    """Return a name that SVG and a legend can show: no control characters, no underscore at the beginning."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return f"\u200b{shown}" if shown.startswith("_") else shown


def _block(layout: Layout, classifier: str) -> list[_Line]:
    lines = [
        _Line(row, TARGET_COLOR, "|", True, f"own cells of {row.site}")
        for row in layout.target_rows()
        if row.classifier == classifier and row.labels_used == 0
    ]
    for labels in sorted({0, layout.most_labels}):
        text = f"{labels} labels + fine-tuning" if labels else f"{layout.source}, no labels"
        for column in layout.columns:
            row = layout.row(classifier, column, labels)
            if row is not None:
                lines.append(_Line(row, *column_style(layout, column), labels == 0, text))
                text = ""
    return lines


def _draw(axes: Axes, line: _Line, y: float) -> None:
    low, high = line.row.interval
    axes.plot([low, high], [y, y], color=line.color, linewidth=1.6, solid_capstyle="butt")
    face = line.color if line.filled else "white"
    axes.plot(line.row.accuracy, y, line.marker, color=line.color, markerfacecolor=face, markersize=6.5)


def _legend(layout: Layout) -> list[Line2D]:
    handles = []
    for column in layout.columns:
        color, marker = column_style(layout, column)
        handles.append(Line2D([], [], color=color, marker=marker, label=plain(column_name(column))))
    if layout.labels:
        label = "hollow: fine-tuned on labels"
        handles.append(
            Line2D([], [], color="#555555", marker="o", markerfacecolor="white", linestyle="none", label=label)
        )
    return handles


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw text as text and not as outlines; the same figure gives the same bytes."""
    settings = mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: the reader's own fonts draw it
            "svg.hashsalt": "hemabridge",
            "text.parse_math": False,  # a class named "$x" is a name, not a formula
            "font.family": "sans-serif",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    with settings, warnings.catch_warnings():
        # The browser draws the text with its own fonts; what matplotlib's font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def svg_bytes(figure: Figure) -> bytes:
    """Return a figure as SVG without its date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
