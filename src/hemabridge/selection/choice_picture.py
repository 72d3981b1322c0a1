"""The figure of a selection: stain distance against morphology, with one point for each snapshot."""

import io
import warnings

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemabridge.models.selection_file import Selection, SnapshotRow

CHOSEN, FIT, UNFIT, LINE = "#D55E00", "#0072B2", "#999999", "#BBBBBB"
"""Colors of Okabe and Ito (2008), which are distinguishable with any color vision; markers differ too."""


def pareto_png(selection: Selection, most_refused: float) -> bytes:
    """Draw distance to the target's stain against the share of cells that the guard keeps, with 95% intervals, as PNG.

    The line follows the training. Snapshots on the Pareto front, which no other dominates, have a black rim.
    """
    rows, floor = selection.snapshots, 1 - most_refused
    front = pareto_front(rows)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 5.6), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([_passed(r) for r in rows], [r.stain for r in rows], color=LINE, linewidth=1, zorder=1)
        for place, row in enumerate(rows):
            _draw(axes, row, chosen=row.snapshot == selection.chosen, on_front=row.snapshot in front)
            # Labels alternate between above and below, because late snapshots lie close together.
            away = (5, 5) if place % 2 else (5, -13)
            axes.annotate(_label(row), (_passed(row), row.stain), away, textcoords="offset points", zorder=5)
        original = selection.original
        axes.plot(_passed(original), original.stain, "s", color="black", markersize=7)
        axes.annotate("original", (_passed(original), original.stain), (-6, 6), textcoords="offset points", ha="right")
        low = min(floor, *(1 - row.refused_interval[1] for row in rows)) - 0.03
        axes.axvspan(low, floor, color="#EEEEEE", zorder=0)
        axes.set_xlim(low, 1.02)
        axes.set_ylim(bottom=0)
        axes.text(floor, 0.01, "floor ", ha="right", va="bottom", transform=axes.get_xaxis_transform(), color="#555555")
        axes.set_xlabel("cells that the morphology guard does not refuse  (1: all)")
        axes.set_ylabel("distance to the target's stain  (1: as far as the originals)")
        axes.set_title(_title(selection), loc="left", fontsize=9, wrap=True)
        axes.legend(handles=_legend(), frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a name in a script that the font lacks
            figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def pareto_front(rows: tuple[SnapshotRow, ...]) -> frozenset[str]:
    """Return the names of the snapshots that no other dominates in both stain distance and refused cells."""

    def beaten(row: SnapshotRow) -> bool:
        return any(
            o.stain <= row.stain and o.refused <= row.refused and (o.stain < row.stain or o.refused < row.refused)
            for o in rows
        )

    return frozenset(row.snapshot for row in rows if not beaten(row))


def _draw(axes: Axes, row: SnapshotRow, *, chosen: bool, on_front: bool) -> None:
    color = CHOSEN if chosen else FIT if row.fit else UNFIT
    low, high = row.refused_interval
    sides = ((_passed(row), (1 - high, 1 - low)), (row.stain, row.stain_interval))
    marker, size = ("*", 15) if chosen else ("o", 7) if row.fit else ("X", 7)
    across, along = (_arms(value, ends) for value, ends in sides)
    rim = "black" if on_front else color
    axes.errorbar(
        _passed(row),
        row.stain,
        xerr=across,
        yerr=along,
        fmt=marker,
        color=color,
        markersize=size,
        markeredgecolor=rim,
        elinewidth=0.7,
    )


def _passed(row: SnapshotRow) -> float:
    return 1 - row.refused


def _label(row: SnapshotRow) -> str:
    number = row.snapshot.removeprefix("epoch-")
    return row.snapshot if number == row.snapshot else number.lstrip("0")


def _arms(value: float, ends: tuple[float, float]) -> list[list[float]]:
    return [[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]]


def _title(selection: Selection) -> str:
    name = selection.run.replace("$", r"\$")
    if selection.chosen is None:
        return f"{name}: no snapshot can be used"
    return f"{name}: {selection.chosen}, chosen in {selection.row(selection.chosen).won:.0%} of the resamples"


def _legend() -> list[mpl.lines.Line2D]:
    kinds = (
        ("chosen", CHOSEN, "*", 12, CHOSEN),
        ("above the floor", FIT, "o", 7, FIT),
        ("not to be used", UNFIT, "X", 7, UNFIT),
        ("no other beats it in both", "white", "o", 7, "black"),
        ("original", "black", "s", 6, "black"),
    )
    return [
        mpl.lines.Line2D([], [], linestyle="", marker=m, color=c, markersize=s, markeredgecolor=rim, label=label)
        for label, c, m, s, rim in kinds
    ]
