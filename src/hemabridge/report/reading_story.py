"""The answers of the readers as sentences for the report of a review."""

from collections.abc import Sequence
from typing import Final, TypeVar

from hemabridge.evaluation.reading import (
    Agreement,
    ArmScore,
    Dispute,
    Estimate,
    Interval,
    Reading,
    Repeats,
    TellingApart,
    Trend,
)
from hemabridge.report.layout import column_name
from hemabridge.report.story import p_text, percent

Row = TypeVar("Row", Agreement, Repeats, TellingApart, Dispute)

ORIGINAL: Final = "original"
ACCEPTED: Final = "accepted"
MEAN: Final = "stain, mean"

MAIN: Final = {
    ACCEPTED: "accepted",
    "taken for the target's": "took for cells of the target's laboratory",
    "taken for real": "took for real",
    "cell type, right": "classified as the key does",
}
"""Measures that can be the main result, by priority, and the verb of each in a sentence."""

QUESTIONS: Final = {
    "laboratory": "Which laboratory?",
    "artificial": "Real or artificial?",
    "stain": "Is the stain acceptable?",
    "stain_faults: nucleus": "Is the nucleus stained wrongly?",
    "stain_faults: cytoplasm": "Is the cytoplasm stained wrongly?",
    "stain_faults: granules": "Are the granules stained wrongly?",
    "stain_faults: background": "Is the background wrong?",
    "morphology": "Is the morphology unchanged?",
    "cell_type": "Which cell type?",
    "preference": "Which of two is better?",
}
TRENDS: Final = {"seconds": "time for a screen", "right": "share of right answers", "accepted": "share accepted"}

SHOWN_DISPUTES: Final = 12
SHOWN_FAULTS: Final = 4
LEVEL: Final = 0.05
NONE: Final = "\u2013"


def arm_name(arm: str) -> str:
    """Return the name of an arm in the report: `epoch-0015` is shown as `epoch 15`, as in a study's report."""
    shown = column_name(("", arm))
    return shown.removeprefix(", ") if shown.startswith(", ") else arm


def main_measure(reading: Reading) -> str | None:
    """Return the main measure of the review: the first of `MAIN` for which there are answers."""
    asked = {score.measure for score in reading.scores}
    return next((measure for measure in MAIN if measure in asked), None)


def of_all(reading: Reading, measure: str) -> list[ArmScore]:
    """Return the scores of all readers together by one measure, arm by arm."""
    return [score for score in reading.scores if score.measure == measure and score.reader is None]


def of_each(reading: Reading, measure: str, arm: str) -> list[ArmScore]:
    """Return the scores of each reader by one measure of one arm."""
    found = (s for s in reading.scores if s.measure == measure and s.arm == arm)
    return [score for score in found if score.reader is not None]


def measures(reading: Reading) -> list[str]:
    """Return the measures that there are, in the order of the results."""
    return list(dict.fromkeys(score.measure for score in reading.scores))


def arms_of(scores: Sequence[ArmScore | TellingApart]) -> list[str]:
    """Return the arms of some rows in the order of the results."""
    return list(dict.fromkeys(score.arm for score in scores))


def headline(reading: Reading) -> str:
    """Return the answer in one line."""
    measure = main_measure(reading)
    if measure is None:
        return _preferred_headline(reading)
    made = [score for score in of_all(reading, measure) if score.arm not in reading.photographs]
    compared = [score.difference.interval for score in made if score.difference is not None]
    better, worse = (sum(1 for i in compared if i is not None and side(i)) for side in (_above, _below))
    what = {ACCEPTED: "accepted", "cell type, right": "classified correctly"}.get(measure, measure)
    if not compared:
        return f"How often readers found pictures {what}, without originals to compare with."
    if len(compared) == 1:
        direction = "more often than" if better else "less often than" if worse else ""
        if not direction:  # that no difference was shown does not show that there is none
            return f"The re-staining was not clearly {what} more or less often than the originals."
        return f"The re-staining was {what} {direction} the originals."
    count = f"{len(compared)} re-stainings"
    if better and worse:
        return f"Of {count}, {better} {_were(better)} {what} more often than the originals and {worse} less often."
    if better or worse:
        direction = "more" if better else "less"
        return f"{better or worse} of {count} {_were(better or worse)} {what} {direction} often than the originals."
    return f"None of {count} was clearly {what} more or less often than the originals."


def answer(reading: Reading) -> list[str]:
    """Return the three sentences that the report begins with: who read, what they found, how far they agree."""
    return [_who(reading), _what(reading), _how_sure(reading)]


def estimate_text(found: Estimate | None, *, as_share: bool = False) -> str:
    """Return a number with its interval; a dash where it is not defined."""
    if found is None or found.value is None:
        return NONE
    return with_interval(found.value, found.interval, as_share=as_share)


def with_interval(value: float, interval: Interval | None, *, as_share: bool = True) -> str:
    """Return `87.5% [80.0%, 92.1%]`, or `0.61 [0.50, 0.72]`."""
    shown = percent if as_share else _plain
    return shown(value) if interval is None else f"{shown(value)} [{shown(interval[0])}, {shown(interval[1])}]"


def score_text(score: ArmScore) -> str:
    """Return a score with its interval: a share as a percentage, a grade as it is."""
    return with_interval(score.share, score.interval, as_share=score.measure != MEAN)


def difference_text(score: ArmScore) -> str:
    """Return the difference from the originals in percentage points, or grades; empty where there is none."""
    found = score.difference
    if found is None or found.value is None:
        return ""
    scale, digits = (1, 2) if score.measure == MEAN else (100, 1)
    ends = "" if found.interval is None else " [{}, {}]".format(*(f"{scale * e:+.{digits}f}" for e in found.interval))
    return f"{scale * found.value:+.{digits}f}{ends}"


def overall(reading: Reading) -> list[Agreement]:
    """Return agreement of all readers, one for each aspect: the row with the most readers."""
    widest: dict[str, Agreement] = {}
    for found in reading.agreement:
        if found.aspect not in widest or len(found.readers) > len(widest[found.aspect].readers):
            widest[found.aspect] = found
    return list(widest.values())


def in_pairs(reading: Reading) -> list[Agreement]:
    """Return agreement of each two readers, where there are more than two."""
    return [found for found in reading.agreement if len(found.readers) == 2] if len(reading.readers) > 2 else []


def by_aspect(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return rows in groups of one aspect each, in the order of the results."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.aspect, []).append(row)
    return list(groups.items())


def gallery(reading: Reading) -> list[tuple[str, list[Dispute], int]]:
    """Return for each aspect the disputed pictures that are shown, the worst first, and the number of all."""
    return [
        (aspect, found[: SHOWN_FAULTS if ":" in aspect else SHOWN_DISPUTES], len(found))
        for aspect, found in by_aspect(reading.disputes)
    ]


def said_text(aspect: str, said: str) -> str:
    """Return an answer with the names of arms that the report uses."""
    return arm_name(said) if aspect == "preference" else said


def trend_sentence(trend: Trend) -> str:
    """Return whether something rose or fell over a reader's session."""
    what = TRENDS[trend.what]
    if trend.tau is None or trend.p is None:
        return f"{trend.reader}: {what} stayed the same."
    if trend.p >= LEVEL:
        return f"{trend.reader}: no trend of the {what} is shown (tau {trend.tau:+.2f}, p {p_text(trend.p)})."
    went = "rose" if trend.tau > 0 else "fell"
    return f"{trend.reader}: the {what} {went} (tau {trend.tau:+.2f}, p {p_text(trend.p)})."


def limits(reading: Reading) -> list[str]:
    """Return what these numbers do not show."""
    listed = [
        "Intervals and p values are for other cells and the same readers: how much other readers would differ, "
        f"{len(reading.readers)} of them cannot show.",
        "Intervals of single arms are not corrected for the number of arms and measures.",
        "Kappa falls where nearly all pictures deserve the same answer, even if readers seldom differ; AC1 does not. "
        "Read both beside the observed agreement.",
        "Equally many cells of each type were drawn; a hospital has other shares.",
    ]
    if reading.silent:
        listed.append(f"Invited, but never answered: {', '.join(reading.silent)}.")
    if any(not repeat.cells >= 20 for repeat in reading.repeats):
        listed.append("Fewer than 20 cells were shown twice to some reader: agreement with themselves is rough.")
    return listed


def _who(reading: Reading) -> str:
    facts, readers = reading.facts, len(reading.readers)
    cells = max((score.cells for score in reading.scores), default=max((p.cells for p in reading.preferred), default=0))
    begun = "One reader" if readers == 1 else f"{readers} readers"
    return (
        f"{begun}, who did not know what they were shown, gave {facts.get('verdicts that count', 0):,} answers "
        f"on cells in {len(reading.arms)} arms ({', '.join(map(arm_name, reading.arms))}), up to {cells} cells in each."
    )


def _what(reading: Reading) -> str:
    measure = main_measure(reading)
    if measure is None:
        return _preferences_sentence(reading)
    parts = [f"{with_interval(s.share, s.interval)} of {arm_name(s.arm)}" for s in of_all(reading, measure)]
    return f"They {MAIN[measure]} {_listed(parts)}."


def _how_sure(reading: Reading) -> str:
    found = overall(reading)
    if not found:
        return "One reader alone answered each picture, so that nothing can be said of agreement between readers."
    wanted = {ACCEPTED: "stain", "taken for the target's": "laboratory", "taken for real": "artificial"}
    aspect = wanted.get(main_measure(reading) or "", "")
    chosen = next((one for one in found if one.aspect == aspect), found[0])
    again = next((one for one in reading.repeats if one.aspect == chosen.aspect and one.reader is None), None)
    kappa = chosen.weighted if chosen.weighted is not None else chosen.cohen
    name = "weighted kappa" if chosen.weighted is not None else "Cohen's kappa"
    first = (
        f"Asked “{QUESTIONS.get(chosen.aspect, chosen.aspect)}”, two readers gave the same answer to "
        f"{estimate_text(chosen.observed, as_share=True)} of the pictures ({name} {estimate_text(kappa)}, "
        f"AC1 {estimate_text(chosen.ac1)})"
    )
    if again is None:
        return f"{first}; for this question no picture was shown twice."
    return (
        f"{first}; shown a picture again, one reader repeated the answer in "
        f"{estimate_text(again.observed, as_share=True)}."
    )


def _preferred_headline(reading: Reading) -> str:
    decided = [found for found in reading.preferred if found.p_holm < LEVEL]
    if len(decided) == 1:
        better = decided[0].first if decided[0].first_better > decided[0].second_better else decided[0].second
        return f"Readers preferred {arm_name(better)}."
    if decided:
        return f"Readers had a preference in {len(decided)} of {len(reading.preferred)} comparisons."
    return "Readers showed no clear preference."


def _preferences_sentence(reading: Reading) -> str:
    parts = [
        f"{arm_name(p.first)} to {arm_name(p.second)} in {p.first_better} answers, the other way round in "
        f"{p.second_better}, neither in {p.equal}"
        for p in reading.preferred
    ]
    return f"They preferred {'; '.join(parts)}." if parts else "They answered no question that compares arms."


def _above(interval: Interval) -> bool:
    return interval[0] > 0


def _below(interval: Interval) -> bool:
    return interval[1] < 0


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
