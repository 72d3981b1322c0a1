"""The results of a synthesis as sentences for its report, and the warning on synthetic cells."""

from typing import Final

from hemabridge.report.story import percent
from hemabridge.synthesis.pair_results import DirectionResults, Estimate, Share, SynthesisResults

OF_THE_CLASS: Final = 0.9
"""Smallest good share of synthetic cells to which the scoring classifier gives the intended class."""

FEW_COPIES: Final = 0.01
"""Largest good share of copies of training cells."""

WARNING: Final = (
    "A synthetic cell is drawn by a network. It shows no cell that ever existed, and is no evidence: not of a "
    "disease, not of a patient, not of how often a form occurs.",
    "Never put synthetic cells into a validation or test part, and never report a number that was measured on them. "
    "hemabridge refuses to load them there.",
    "Do not use them for diagnosis, for teaching morphology as if they were real, to estimate how common a class is, "
    "or to anonymize patients: a network may reproduce cells that it learned from, and the check for copies finds only "
    "near ones.",
    "They may be tried as additional training images. Whether they help must be measured on real cells, in comparison "
    "with rotation, mirroring and a few more real cells.",
    "A network reproduces its training data: cells of one laboratory, one stain, and the sources' background. A "
    "synthetic cell to which a classifier gives the intended class need not be typical of that class.",
)
"""Warnings for everyone who uses the cells."""

SHAPE_WORDS: Final = {
    "nucleus_area": "nucleus area, share of the picture",
    "nucleus_share": "nucleus, share of the cell (N:C)",
    "lobedness": "lobedness, share of the hull",
    "lobes": "lobes",
}


def is_good(found: DirectionResults) -> bool:
    """Return whether enough cells of a direction are classified as intended, and few enough are copies."""
    return found.intended.value >= OF_THE_CLASS and found.copies.synthetic.value <= FEW_COPIES


def headline(results: SynthesisResults) -> str:
    """Return the result in one line."""
    found = [direction for pair in results.pairs for direction in pair.directions]
    good = sum(map(is_good, found))
    return (
        f"In {good} of {len(found)} directions the scoring classifier gives at least {OF_THE_CLASS:.0%} of the "
        f"synthetic cells the intended class, with at most {FEW_COPIES:.0%} copies."
    )


def answer(found: DirectionResults) -> str:
    """Return the results of one direction in a few sentences."""
    of_class = (
        f"The scoring classifier gives {share(found.intended)} of the {found.intended.n} synthetic cells the class "
        f"{found.intended_class}, {share(found.intended_real)} of {found.intended_real.n} real ones, and of the "
        f"untranslated {found.source_class} cells {share(found.intended_source)}."
    )
    return f"{of_class} {distance_sentence(found)} {copies_sentence(found)}"


def distance_sentence(found: DirectionResults) -> str:
    """Return whether the synthetic cells are farther from real ones than two sets of real ones are from each other."""
    if found.kid.interval[0] > found.kid_floor.interval[1]:
        return "In its features they are farther from real cells than two sets of real cells are from each other."
    return "In its features they are not shown to be farther from real cells than two sets of real cells are."


def copies_sentence(found: DirectionResults) -> str:
    """Return how many synthetic cells are copies of training cells."""
    check = found.copies
    if not check.synthetic.count:
        return f"None is a copy of one of the {check.training} training cells."
    verb = "is a copy" if check.synthetic.count == 1 else "are copies"
    return f"{check.synthetic.count} of {check.synthetic.n} {verb} of training cells."


def share(found: Share) -> str:
    """Return a share with its interval."""
    return f"{percent(found.value)} [{percent(found.interval[0])}, {percent(found.interval[1])}]"


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` decimals; a smaller one than these can show is written with an exponent."""
    return f"{value:.{digits}f}" if value == 0 or abs(value) >= 10.0**-digits else f"{value:.1e}"


def estimate(found: Estimate) -> str:
    """Return a number with its interval."""
    low, high = found.interval
    return f"{number(found.value)} [{number(low)}, {number(high)}]"
