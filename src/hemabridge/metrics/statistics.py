"""Intervals and tests for counts of cells classified correctly."""

from collections.abc import Sequence
from math import sqrt
from typing import TypeAlias

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end of a confidence interval of a fraction, 0..1."""


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of the fraction `successes / n`.

    Its coverage is close to the nominal one for small n and extreme fractions, unlike that of the Wald interval.

    Args:
        successes: cells classified correctly, 0..n.
        n: cells classified, at least 1.
        confidence: the nominal coverage, above 0 and below 1.

    Raises:
        ValueError: `n` is below 1 or `successes` is not in 0..n.

    References:
        Wilson (1927), Probable inference, the law of succession, and statistical inference,
        doi:10.1080/01621459.1927.10502953. Brown, Cai and DasGupta (2001), doi:10.1214/ss/1009213286.

    Example:
        >>> low, high = wilson_interval(75, 92)
        >>> f"{low:.3f} {high:.3f}"
        '0.724 0.881'
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    interval = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_of_fractions_interval(successes: Sequence[int], n: Sequence[int], confidence: float = 0.95) -> Interval:
    """Return an interval of the mean of independent fractions, such as balanced accuracy, the mean of recalls.

    It is made from the Wilson interval of each fraction by the method MOVER, and has a width even where all cells are
    classified correctly, where a bootstrap has none.

    Args:
        successes: of each fraction.
        n: of each fraction, at least 1.
        confidence: of the interval, 0..1.

    References:
        Zou and Donner (2008), eq. 3, doi:10.1002/sim.3095.

    Example:
        >>> low, high = mean_of_fractions_interval([6, 6], [6, 6])
        >>> round(low, 3), round(high, 3)
        (0.724, 1.0)
    """
    fractions = [right / count for right, count in zip(successes, n, strict=True)]
    ends = [wilson_interval(right, count, confidence) for right, count in zip(successes, n, strict=True)]
    below, above = (
        sqrt(sum((each[end] - value) ** 2 for each, value in zip(ends, fractions, strict=True))) / len(fractions)
        for end in (0, 1)
    )
    mean = sum(fractions) / len(fractions)
    return max(0.0, mean - below), min(1.0, mean + above)


def mcnemar_exact(rescued: int, broken: int) -> float:
    """Return the two-sided p value of the exact McNemar test.

    Only cells for which the two runs differ in being right or wrong count. Under the null hypothesis each of them is
    rescued or broken with probability 1/2. Without such a cell p = 1.

    Args:
        rescued: cells wrong in the first run and right in the second.
        broken: cells right in the first run and wrong in the second.

    Raises:
        ValueError: a count is negative.

    References:
        McNemar (1947), doi:10.1007/BF02295996; exact form: Fagerland, Lydersen and Laake (2013),
        doi:10.1186/1471-2288-13-91.
    """
    if rescued < 0 or broken < 0:
        raise ValueError(f"expected counts of 0 or more, got rescued {rescued} and broken {broken}")
    if rescued + broken == 0:
        return 1.0
    return float(binomtest(rescued, rescued + broken, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for testing several hypotheses, in the order of the input.

    The i-th smallest of m values is multiplied by m - i + 1; results are made monotone and limited to 1.

    Args:
        p_values: uncorrected p values, 0..1; may be empty.

    Raises:
        ValueError: a value is not in 0..1, or is not a number.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 65-70.
    """
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"expected p values in 0..1, got {p}")
    corrected = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = floor
    return tuple(corrected)


def smallest_detectable_difference(n: int, *, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """Return the smallest difference of two fractions that a test of two groups of n cells each can find.

    The groups are unpaired, the test is two-sided and normal, and the fractions are symmetric about 1/2, where the
    variance is largest. A paired test finds smaller differences.

    Args:
        n: cells per group, at least 1.
        power: probability of finding a true difference of this size, 0..1.
        alpha: two-sided level of the test, 0..1.

    Returns:
        The difference, 0..1, or None if n is so small that even 0 and 1 cannot be distinguished.

    Raises:
        ValueError: `n` is below 1.

    References:
        Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, chapter 4, doi:10.1002/0471445428.
    """
    if n < 1:
        raise ValueError(f"expected at least 1 cell per group, got {n}")
    z_level, z_power = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))

    def surplus(difference: float) -> float:
        under_alternative = sqrt(0.5 * (1 - difference**2))
        return difference * sqrt(n) - z_level * sqrt(0.5) - z_power * under_alternative

    if surplus(1.0) < 0:
        return None
    return float(brentq(surplus, 0.0, 1.0))


def smallest_paired_difference(n: int, disagreement: float, *, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """Return the smallest difference of two accuracies on the same n cells that McNemar's test can find.

    Solves Connor's formula for the difference d, given the share p of cells that are right in one run only:
    d sqrt(n) = z_(1-alpha/2) sqrt(p) + z_power sqrt(p - d^2).

    Args:
        n: cells, at least 1.
        disagreement: share of the cells that one run classifies correctly and the other does not, 0..1.
        power: probability of finding a true difference of this size, 0..1.
        alpha: two-sided level of the test, 0..1.

    Returns:
        The difference, 0..1, or None if even a difference equal to `disagreement` cannot be found.

    Raises:
        ValueError: `n` is below 1, or `disagreement` is not in 0..1.

    References:
        Connor (1987), Sample size for testing differences in proportions for the paired-sample design,
        doi:10.2307/2531961; Miettinen (1968), doi:10.2307/2528464.
    """
    if n < 1 or not 0 <= disagreement <= 1:
        raise ValueError(f"expected n >= 1 and a share of disagreement in 0..1, got {n} and {disagreement}")
    z_level, z_power = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))

    def surplus(difference: float) -> float:
        spread = sqrt(max(0.0, disagreement - difference**2))
        return difference * sqrt(n) - z_level * sqrt(disagreement) - z_power * spread

    if disagreement == 0 or surplus(disagreement) < 0:
        return None
    return float(brentq(surplus, 0.0, disagreement))
