"""The measures of one snapshot's re-stained cells, and the interval of a resampled measure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SnapshotMeasures:
    """Measures of one set of re-stained cells; arrays `..._drawn` hold one value for each resample of the cells.

    Attributes:
        compartments: distance of each measured compartment in CIELAB and in optical density.
        stain: stain distance to the target, as a share of that of the originals; 0 for the target itself.
        stain_drawn: the same of each resample, float64[B].
        kid: kernel distance to the target in the features.
        kid_drawn: the same of each resample, float64[B].
        auc: domain-classifier AUC between the images and the target's, 0.5..1.
        refused: share of cells that the morphology guard refuses, among those that it compared.
        refused_drawn: the same of each resample, float64[B].
        kept: structure kept, mean over cells.
        kept_drawn: the same of each resample, float64[B].
        tinted: share of cells with new blotches of color on empty glass.
        tinted_drawn: the same of each resample, float64[B].
        confidence: mean over cells and classifiers of the largest probability; None without a classifier.
        prior_shift: half the sum of absolute differences between the classes' mean probabilities on these images and
            on the target's, mean over classifiers; None without a classifier.
        error: share of misclassified cells, mean over classifiers; None unless labels were given.
        error_drawn: the same of each resample, float64[B].
        answers: mean of the classifiers' probabilities, float64[N, C]; None without a classifier.
        votes: share of classifiers that predict each class, float64[N, C]; None without a classifier.
        disagreement: with shape members 1 - their soft agreement with the votes, 0..1; without them the consensus
            negative log-likelihood in nats. Set by `Ruler.compared`; None without a classifier.
        disagreement_drawn: the same of each resample, float64[B].
    """

    compartments: dict[str, dict[str, float]]
    stain: float
    stain_drawn: Floats
    kid: float
    kid_drawn: Floats
    auc: float
    refused: float
    refused_drawn: Floats
    kept: float
    kept_drawn: Floats
    tinted: float
    tinted_drawn: Floats
    confidence: float | None
    prior_shift: float | None
    error: float | None
    error_drawn: Floats | None
    answers: Floats | None
    votes: Floats | None
    disagreement: float | None = None
    disagreement_drawn: Floats | None = None


def interval_of(drawn: Floats) -> tuple[float, float]:
    """Return the 95% percentile interval of resampled values."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
