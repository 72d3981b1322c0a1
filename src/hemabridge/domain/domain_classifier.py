"""The domain-classifier AUC of two sets of cells: a cross-validated classifier two-sample test."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

Floats = NDArray[np.float64]


def area_under_curve(positives: Floats, negatives: Floats) -> float:
    """Return the probability, 0..1, that a positive has the higher score than a negative; equal scores count half.

    This is the area under the ROC curve (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747).

    Raises:
        ValueError: there is no positive, or no negative.
    """
    if len(positives) == 0 or len(negatives) == 0:
        raise ValueError(f"expected scores of both kinds, got {len(positives)} and {len(negatives)}")
    ranks = rankdata(np.concatenate([positives, negatives]))[: len(positives)].sum()
    pairs = len(positives) * len(negatives)
    return float((ranks - len(positives) * (len(positives) + 1) / 2) / pairs)


def logistic_weights(features: Floats, labels: NDArray[np.bool_], strength: float = 1.0) -> tuple[Floats, float]:
    """Fit a logistic regression; return weights, float64[D], and the constant.

    Minimizes sum log(1 + exp(-y (w.x + b))) + strength |w|^2 / 2 with y = +1 or -1 (Hastie, Tibshirani and Friedman
    2009, The Elements of Statistical Learning, section 4.4, doi:10.1007/978-0-387-84858-7); b has no penalty.

    Args:
        features: float64[N, D].
        labels: bool[N].
        strength: of the L2 penalty, at least 0.
    """
    signs = np.where(labels, 1.0, -1.0)
    d = features.shape[1]

    def loss(point: Floats) -> tuple[float, Floats]:
        margin = signs * (features @ point[:d] + point[d])
        slope = -signs * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + strength * (point[:d] @ point[:d]) / 2
        return float(value), np.r_[features.T @ slope + strength * point[:d], slope.sum()]

    found = minimize(loss, np.zeros(d + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return np.asarray(found[:d]), float(found[d])


def domain_auc(one: Floats, other: Floats, *, folds: int = 5, seed: int = 0) -> float:
    """Return the AUC, 0..1, of a logistic regression that discriminates two sets, on held-out cells.

    0.5: the sets cannot be discriminated; 1: perfectly (Lopez-Paz and Oquab 2017, Revisiting classifier two-sample
    tests, arXiv:1610.06545). Features are standardized by the fitted cells. Each fold has the same shares of both sets.
    A value below 0.5 is chance. The values of small sets scatter widely about 0.5.

    Args:
        one: features of the first set, float64[N, D].
        other: features of the second set, float64[M, D].
        folds: number of folds; each is scored once.
        seed: random seed of the assignment to folds.

    Raises:
        ValueError: a set has fewer members than there are folds, or the sets have different features.
    """
    if min(len(one), len(other)) < folds or one.shape[1] != other.shape[1]:
        raise ValueError(f"expected two sets [N, D] of {folds} or more, got shapes {one.shape} and {other.shape}")
    generator = np.random.default_rng(seed)
    places = [generator.permutation(len(x)) % folds for x in (one, other)]
    areas = []
    for fold in range(folds):
        fitted = [x[place != fold] for x, place in zip((one, other), places, strict=True)]
        held = [x[place == fold] for x, place in zip((one, other), places, strict=True)]
        both = np.concatenate(fitted)
        middle, spread = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-9)
        labels = np.arange(len(both)) < len(fitted[0])
        weights, _ = logistic_weights((both - middle) / spread, labels)
        scores = [((x - middle) / spread) @ weights for x in held]
        areas.append(area_under_curve(*scores))
    return float(np.mean(areas))
