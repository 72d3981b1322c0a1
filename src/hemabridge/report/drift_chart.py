"""The control chart of a drift monitor, as PNG."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from hemabridge.domain.control_chart import SHEWHART
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write

_BLUE, _ORANGE, _RED, _GRAY = "#0072B2", "#E69F00", "#D55E00", "#777777"  # Okabe & Ito (2008)
_MOST_LABELS: Final = 24


def write_chart(
    path: Path,
    names: Sequence[str],
    *,
    scores: Sequence[float],
    averages: Sequence[float],
    limits: Sequence[float],
    alarms: Sequence[bool],
) -> None:
    """Draw scores and their moving average with both limits; each folder is a point, in the order of time."""
    places = range(len(names))
    with mpl.rc_context({"text.usetex": False, "text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=_GRAY, linewidth=0.8)
        axes.axhline(SHEWHART, color=_GRAY, linestyle=":", label=f"limit of one folder ({SHEWHART:g})")
        axes.plot(places, limits, color=_ORANGE, linestyle="--", label="limit of the moving average")
        axes.plot(places, scores, color=_GRAY, marker="o", linewidth=0, markersize=4, label="distance of a folder")
        axes.plot(places, averages, color=_BLUE, marker="s", markersize=4, label="moving average (EWMA)")
        wrong = [place for place in places if alarms[place]]
        highest = [max(scores[place], averages[place]) for place in wrong]
        axes.plot(wrong, highest, color=_RED, marker="o", linewidth=0, markersize=13, fillstyle="none", label="alarm")
        axes.set(ylabel="standard deviations above\nusual folders of this site", xlabel="folder")
        shown = evenly_spaced(len(names), _MOST_LABELS).tolist()
        axes.set_xticks(shown, [names[place][:24] for place in shown], rotation=45, ha="right", fontsize=8)
        axes.margins(x=0.02, y=0.12)
        figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
