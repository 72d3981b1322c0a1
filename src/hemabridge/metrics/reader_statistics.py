"""Statistics of human readers: discrimination of two kinds of pictures, and agreement beyond chance.

`detect` is signal detection. Agreement is measured by the coefficients of Cohen and Fleiss and by Gwet's AC1, from
counts of answers. Each coefficient is a function of sums over pictures, so that a bootstrap draws the sums and never
the pictures. All take leading axes, such as one of draws. Where a coefficient is not defined, it is NaN: where all
answers are the same, the agreement is that of chance. (AC1 is defined even there.)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]


class Detection(NamedTuple):
    """Sensitivity and criterion of signal detection, each float64[...].

    Attributes:
        d_prime: 0: no discrimination; 1: about 69% correct answers without bias; below 0: the kinds are confused.
        criterion: above 0: "signal" is answered too rarely; below 0: too often.
    """

    d_prime: Floats
    criterion: Floats


def detect(hits: Floats, signals: Floats, false_alarms: Floats, noises: Floats) -> Detection:
    """Return d' and criterion of yes/no answers, with the log-linear correction.

    d' = z(H) - z(F) and c = -(z(H) + z(F)) / 2 (Macmillan and Creelman 2005, equations 1.5 and 2.1,
    doi:10.4324/9781410611147), where H = (hits + 0.5) / (signals + 1) and F likewise: Hautus (1995), Corrections for
    extreme proportions and their biasing effects on estimated values of d', doi:10.3758/BF03203619. The
    correction is applied to all counts, not only to 0 and n, so that d' is finite and its bias is small.

    Args:
        hits: float64[...], signals with the answer "signal", 0..signals.
        signals: float64[...], number of signals.
        false_alarms: float64[...], noises with the answer "signal", 0..noises.
        noises: float64[...], number of noises.

    Raises:
        ValueError: a count is negative, or there are more hits than signals or more false alarms than noises.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (hits, signals, false_alarms, noises)]
    hits, signals, false_alarms, noises = arrays
    if min(np.min(a) for a in arrays) < 0 or np.any(hits > signals) or np.any(false_alarms > noises):
        raise ValueError("expected 0 <= hits <= signals and 0 <= false alarms <= noises")
    found = np.asarray(norm.ppf((hits + 0.5) / (signals + 1)))
    mistaken = np.asarray(norm.ppf((false_alarms + 0.5) / (noises + 1)))
    return Detection(found - mistaken, -(found + mistaken) / 2)


def answer_counts(answers: NDArray[np.int64], num_categories: int) -> Floats:
    """Count the readers who gave each answer to each picture.

    Args:
        answers: int64[N, R], 0..num_categories-1; -1 where a reader did not answer.
        num_categories: number of possible answers.

    Returns:
        float64[N, num_categories].

    Raises:
        ValueError: the array is not two-dimensional, or contains an answer out of range.
    """
    if answers.ndim != 2:
        raise ValueError(f"expected a row for each picture and a column for each reader, got shape {answers.shape}")
    if answers.size and (answers.min() < -1 or answers.max() >= num_categories):
        raise ValueError(f"expected answers in -1..{num_categories - 1}, got {answers.min()}..{answers.max()}")
    return np.asarray((answers[:, :, None] == np.arange(num_categories)).sum(axis=1), dtype=np.float64)


def pair_agreement(counts: Floats) -> Floats:
    """Return the share of pairs of readers with the same answer, for each picture.

    This is P_i of Fleiss (1971), equation 2, with the number of readers who answered that picture.

    Args:
        counts: float64[N, K] of `answer_counts`.

    Returns:
        float64[N], 0..1; NaN where fewer than two readers answered.
    """
    readers = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1)
    found = np.full(len(counts), np.nan)
    np.divide(same, readers * (readers - 1), out=found, where=readers > 1)
    return found


def answer_shares(counts: Floats) -> Floats:
    """Return the share of readers with each answer, for each picture: float64[N, K]; 0 where none answered."""
    readers = counts.sum(axis=1, keepdims=True)
    found = np.zeros_like(counts)
    np.divide(counts, readers, out=found, where=readers > 0)
    return found


def cohen_kappa(table: Floats, *, quadratic: bool = False) -> Floats:
    """Return Cohen's kappa of two readers.

    Args:
        table: float64[..., K, K], number of pictures with answer i of the first reader and j of the second.
        quadratic: weigh a disagreement by (i - j)^2, for ordinal answers; otherwise all disagreements are equal.

    Returns:
        float64[...], -1..1; NaN where the expected disagreement is 0.

    References:
        Cohen (1960), doi:10.1177/001316446002000104; weights: Cohen (1968), doi:10.1037/h0026256.

    Example:
        >>> f"{cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])):.2f}"
        '0.40'
    """
    steps = np.arange(table.shape[-1], dtype=np.float64)
    apart = (steps[:, None] - steps) ** 2 if quadratic else (steps[:, None] != steps).astype(np.float64)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    expected = np.einsum("...i,...j,ij->...", rows, columns, apart)
    observed = (table * apart).sum(axis=(-2, -1)) * rows.sum(axis=-1)
    return 1 - _ratio(observed, expected)


def fleiss_kappa(observed: Floats, shares: Floats) -> Floats:
    """Return Fleiss' kappa of any number of readers.

    If each picture has the same number of readers, this is Fleiss (1971); otherwise its extension to different numbers
    (Gwet 2014, Handbook of Inter-Rater Reliability, 4th edition, chapter 2).

    Args:
        observed: float64[...], mean of `pair_agreement`, 0..1.
        shares: float64[..., K], mean of `answer_shares`; adds up to 1.

    Returns:
        float64[...], -1..1; NaN where all answers are the same.

    References:
        Fleiss (1971), Measuring nominal scale agreement among many raters, doi:10.1037/h0031619.
    """
    chance = (shares**2).sum(axis=-1)
    return _ratio(observed - chance, 1 - chance)


def gwet_ac1(observed: Floats, shares: Floats) -> Floats:
    """Return Gwet's AC1 of any number of readers; it stays high if almost all pictures have the same correct answer.

    Chance agreement is 1 / (K - 1) times the sum of pi_k (1 - pi_k) over the K answers.

    Args:
        observed: float64[...], mean of `pair_agreement`, 0..1.
        shares: float64[..., K], mean of `answer_shares`; adds up to 1. K is 2 or more.

    Returns:
        float64[...], -1..1.

    Raises:
        ValueError: there is only one possible answer.

    References:
        Gwet (2008), Computing inter-rater reliability and its variance in the presence of high agreement,
        doi:10.1348/000711006X126600.
    """
    answers = shares.shape[-1]
    if answers < 2:
        raise ValueError(f"expected two or more answers to choose from, got {answers}")
    chance = (shares * (1 - shares)).sum(axis=-1) / (answers - 1)
    return _ratio(observed - chance, 1 - chance)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide; NaN where the divisor is 0 within rounding."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=np.abs(below) > 1e-12)
    return found
