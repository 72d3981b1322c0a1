"""Figures of a review's report as SVG."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from hemabridge.evaluation.reading import ArmScore, Reading, Stretch
from hemabridge.report.figures import MARKERS, ORIGINAL_COLOR, PALETTE, WIDTH_INCHES, drawing_style, plain, svg_bytes
from hemabridge.report.reading_story import ORIGINAL, arm_name, of_each

HALF_INCHES = WIDTH_INCHES / 2


def arms_svg(reading: Reading, scores: Sequence[ArmScore], label: str) -> bytes:
    """Draw a share of each arm with its interval, and each reader's own share as a hollow marker.

    Args:
        reading: all results.
        scores: of all readers, one for each arm, by one measure.
        label: of the axis.
    """
    with drawing_style():
        figure = Figure(figsize=(HALF_INCHES * 1.35, 0.62 * len(scores) + 1.35), layout="constrained")
        axes = figure.add_subplot()
        for place, score in enumerate(scores):
            color = ORIGINAL_COLOR if score.arm == ORIGINAL else PALETTE[0]
            low, high = score.interval or (score.share, score.share)
            axes.plot([low, high], [place, place], color=color, linewidth=2.4, solid_capstyle="butt", zorder=2)
            axes.plot(score.share, place, "o", color=color, markersize=9, zorder=3)
            for own in of_each(reading, score.measure, score.arm):
                axes.plot(own.share, place + 0.3, _marker(reading, own.reader), mfc="none", color="#555555", ms=6)
        axes.set_yticks(range(len(scores)), [plain(arm_name(score.arm)) for score in scores])
        axes.set_ylim(len(scores) - 0.35, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(label)
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        for reader in reading.readers[: len(MARKERS)]:
            axes.plot(
                [], [], _marker(reading, reader), color="#555555", markerfacecolor="none", label=plain(reader), ls=""
            )
        figure.legend(loc="outside upper left", ncols=4, frameon=False)
        return svg_bytes(figure)


def session_svg(reading: Reading) -> bytes:
    """Draw the median time for a screen, and the share of right or accepting answers, over parts of the session."""
    parts = [stretch for stretch in reading.stretches if stretch.part]
    rights = any(stretch.asked for stretch in parts)
    shares = [share for stretch in parts if (share := _share(stretch, rights)) is not None]
    with drawing_style():
        figure = Figure(figsize=(WIDTH_INCHES * (0.9 if shares else 0.45), 3.2), layout="constrained")
        every = figure.subplots(1, 2 if shares else 1, squeeze=False)[0]
        for number, reader in enumerate(dict.fromkeys(stretch.reader for stretch in parts)):
            own = [stretch for stretch in parts if stretch.reader == reader]
            style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": _marker(reading, reader)}
            every[0].plot([s.part for s in own], [s.seconds[1] for s in own], label=plain(reader), **style)
            if shares:
                known = [(s.part, share) for s in own if (share := _share(s, rights)) is not None]
                every[1].plot([part for part, _ in known], [share for _, share in known], **style)
        every[0].set(ylabel="median seconds for a screen")
        every[0].set_ylim(0, 1.15 * max(stretch.seconds[1] for stretch in parts))
        if shares:
            every[1].set(ylabel="share right" if rights else "share accepted", ylim=(-0.02, 1.02))
        for axes in every:
            axes.set(xlabel="part of the session", xticks=range(1, max(s.parts for s in parts) + 1))
            axes.grid(color="#dddddd", linewidth=0.7)
        figure.legend(loc="outside upper left", ncols=5, frameon=False)
        return svg_bytes(figure)


def _share(stretch: Stretch, rights: bool) -> float | None:
    hits, n = (stretch.right, stretch.asked) if rights else (stretch.accepted, stretch.judged)
    return hits / n if n else None


def _marker(reading: Reading, reader: str | None) -> str:
    place = reading.readers.index(reader) if reader in reading.readers else 0
    return MARKERS[place % len(MARKERS)]
