"""Figures of the report of a synthesis as SVG."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hemabridge.report.figures import PALETTE, WIDTH_INCHES, drawing_style, plain, svg_bytes
from hemabridge.report.synthesis_story import SHAPE_WORDS
from hemabridge.synthesis.results import DirectionResults, ShapeRow, Spread

_COLORS = {"source": "#777777", "synthetic": PALETTE[1], "real": PALETTE[0]}


def shapes_svg(found: DirectionResults) -> bytes:
    """Draw the distribution of each measure of the nucleus: sources, synthetic cells, real cells of the class."""
    names = {
        "source": f"real {found.source_class}",
        "synthetic": f"synthetic {found.intended_class}",
        "real": f"real {found.intended_class}",
    }
    with drawing_style():
        figure = Figure(figsize=(WIDTH_INCHES, 1.9), layout="constrained")
        panels = figure.subplots(1, len(found.shapes), squeeze=False)[0]
        for axes, row in zip(panels, found.shapes, strict=True):
            _draw_row(axes, row)
        panels[0].set_yticks(range(len(names)), [plain(name) for name in names.values()])
        for axes in panels[1:]:
            axes.set_yticks([])
        return svg_bytes(figure)


def _draw_row(axes: Axes, row: ShapeRow) -> None:
    for place, (name, color) in enumerate(_COLORS.items()):
        spread: Spread = getattr(row, name)
        axes.plot([spread.p5, spread.p95], [place, place], color=color, linewidth=1.5)
        axes.plot([spread.p25, spread.p75], [place, place], color=color, linewidth=9, solid_capstyle="butt", alpha=0.55)
        axes.plot(spread.median, place, "o", color=color, markersize=6, markeredgecolor="white")
    if row.measure == "lobes":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(ylim=(len(_COLORS) - 0.5, -0.5), title=SHAPE_WORDS.get(row.measure, row.measure))
    axes.title.set_fontsize(9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
