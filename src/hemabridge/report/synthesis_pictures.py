"""The images in the report of a synthesis, and its figures as SVG."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.report.figures import PALETTE, WIDTH_INCHES, drawing_style, plain, svg_bytes
from hemabridge.report.synthesis_story import SHAPE_WORDS
from hemabridge.synthesis.pair_results import Copy, DirectionResults, ShapeRow, Spread


@dataclass(frozen=True, eq=False)
class EpochCells:
    """The same cells at one epoch.

    Attributes:
        label: name of the epoch in the report.
        chosen: whether the numbers of the report are those of this epoch.
        synthetic: uint8[N, S, S, 3], the translated sources.
        back: uint8[N, S, S, 3], the synthetic cells, translated back by the other generator.
    """

    label: str
    chosen: bool
    synthetic: UInt8Images
    back: UInt8Images


@dataclass(frozen=True, eq=False)
class NearCell:
    """A synthetic cell and its most similar training cell, uint8[S, S, 3] each."""

    found: Copy
    synthetic: UInt8Image
    training: UInt8Image


@dataclass(frozen=True, eq=False)
class DirectionPictures:
    """All pictures of one direction.

    Attributes:
        sources: held-out cells, uint8[N, S, S, 3].
        epochs: the same cells at several epochs, earliest first.
        real: other held-out cells of the intended class, uint8[M, S, S, 3].
        nearest: copies, and the cells nearest to training cells.

    Raises:
        ValueError: an epoch shows other cells.
    """

    sources: UInt8Images
    epochs: tuple[EpochCells, ...]
    real: UInt8Images
    nearest: tuple[NearCell, ...]

    def __post_init__(self) -> None:
        for epoch in self.epochs:
            if epoch.synthetic.shape != self.sources.shape or epoch.back.shape != self.sources.shape:
                raise ValueError(
                    f"expected cells of shape {self.sources.shape} at {epoch.label}, got {epoch.synthetic.shape}"
                )


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
