"""How far readers agree beyond chance: Cohen, Fleiss and Gwet's AC1, from counts of answers.

Each coefficient is a function of sums over pictures, so that a bootstrap draws the sums and never the pictures. All
take leading axes, such as one of draws, and give NaN where they are not defined: where all answers are the same,
chance explains agreement as well as insight does. (AC1 is defined even there.)
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def answer_counts(answers: NDArray[np.int64], num_categories: int) -> Floats:
    """Count how many readers gave each answer to each picture.

    Args:
        answers: int64[N, R], 0..num_categories-1; -1 where a reader did not answer.
        num_categories: how many answers there are, whether they were given or not.

    Returns:
        float64[N, num_categories].

    Raises:
        ValueError: the array is not two-dimensional, or holds an answer outside the categories.
    """
    if answers.ndim != 2:
        raise ValueError(f"expected a row for each picture and a column for each reader, got shape {answers.shape}")
    if answers.size and (answers.min() < -1 or answers.max() >= num_categories):
        raise ValueError(f"expected answers in -1..{num_categories - 1}, got {answers.min()}..{answers.max()}")
    return np.asarray((answers[:, :, None] == np.arange(num_categories)).sum(axis=1), dtype=np.float64)


def pair_agreement(counts: Floats) -> Floats:
    """Return the share of pairs of readers that gave one answer, for each picture.

    This is P_i of Fleiss (1971), equation 2, with as many readers as answered that picture.

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
    """Return the share of each picture's readers that gave each answer: float64[N, K]; 0 where none answered."""
    readers = counts.sum(axis=1, keepdims=True)
    found = np.zeros_like(counts)
    np.divide(counts, readers, out=found, where=readers > 0)
    return found


def cohen_kappa(table: Floats, *, quadratic: bool = False) -> Floats:
    """Return Cohen's kappa of two readers.

    Args:
        table: float64[..., K, K], how often the first reader gave answer i and the second j.
        quadratic: weigh a disagreement by (i - j)^2, for answers on a scale; else all disagreements are alike.

    Returns:
        float64[...], -1..1; NaN where chance expects no disagreement.

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

    Where each picture was answered by the same number of readers this is Fleiss (1971); where not, its extension that
    takes each picture's own number (Gwet 2014, Handbook of Inter-Rater Reliability, 4th edition, chapter 2).

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
    """Return Gwet's AC1 of any number of readers; it does not fall when nearly all pictures deserve the same answer.

    Chance agreement is 1 / (K - 1) times the sum of pi_k (1 - pi_k) over the K answers.

    Args:
        observed: float64[...], mean of `pair_agreement`, 0..1.
        shares: float64[..., K], mean of `answer_shares`; adds up to 1. K is 2 or more.

    Returns:
        float64[...], -1..1.

    Raises:
        ValueError: there is only one answer to choose from.

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
