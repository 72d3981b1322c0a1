"""The gate before the output: reasons to hold a batch back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scipy.stats import binom

from hemabridge.domain.control_chart import SHEWHART, ewma, ewma_limits, normal_scores
from hemabridge.domain.site_profile import Answer
from hemabridge.errors import InputError
from hemabridge.models import Model
from hemabridge.models.site_answer import read_descriptors

REFUSED_AT_HOME: Final = 9 / 250
"""Share of cells that the guard refuses although nothing is wrong: each of its nine measures exceeds its limit for at
most 1 in 250, if its tail is exponential (`guard.thresholds.REFUSE_SPREADS`)."""
FALSE_ALARMS: Final = 1 / 500
"""Share of batches with an alarm of the guard although nothing is wrong, as that of the control chart of drift."""


@dataclass(frozen=True)
class Appearance:
    """The appearance of a batch.

    Attributes:
        answer: whether it is in-distribution for the model; None if the model's file cannot say.
        score: its distance in standard deviations above typical batches of this size; None likewise.
    """

    answer: Answer | None
    score: float | None


def appearance_of(model: Model, files: Sequence[Path]) -> Appearance:
    """Measure a batch: its distance from the nearest site for which the model is meant."""
    found = []
    for home in model.at_home:
        try:
            descriptors = read_descriptors(files, home, model.crop_px, crop_um=model.crop_um)
        except InputError:
            return Appearance(None, None)  # no image can be read; each has its reason elsewhere
        distance = home.distance(descriptors)
        score = float(normal_scores(distance.value, home.usual(len(descriptors))))
        found.append((distance.value / distance.borderline_max, distance.answer, score))
    if not found:
        return Appearance(None, None)
    _, answer, score = min(found)
    return Appearance(answer, round(score, 4))


def alarms_of(appearance: Appearance, scores: Sequence[float], refused: int, checked: int) -> tuple[str, ...]:
    """Return the reasons why a person must check a batch before it passes; empty if there are none.

    Args:
        appearance: of the batch.
        scores: of the batches before it, oldest first.
        refused: number of its cells that the guard refuses.
        checked: number of its cells that the guard checked.
    """
    alarms = []
    if appearance.answer == "out-of-distribution":
        alarms.append("unknown hospital: the images are out-of-distribution for the model")
    if appearance.score is not None:
        series = [*scores, appearance.score]
        average, limit = ewma(series, floor=0.0)[-1], ewma_limits(len(series))[-1]
        if appearance.score > SHEWHART or average > limit:
            alarms.append(
                f"drift: {appearance.score:.1f} standard deviations from typical batches (at most {SHEWHART:.0f}), "
                f"moving average {average:.1f} (at most {limit:.1f})"
            )
    if checked and binom.sf(refused - 1, checked, REFUSED_AT_HOME) < FALSE_ALARMS:
        alarms.append(f"morphology: the guard refuses {refused} of {checked} cells")
    return tuple(alarms)
