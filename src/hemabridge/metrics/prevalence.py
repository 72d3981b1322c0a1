"""Share of each class among cells that a classifier counted: corrected for its confusion, with intervals."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from hemabridge.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

PRIOR: Final = 0.5
"""Of each class in all Dirichlet distributions: Jeffreys' prior of a multinomial distribution."""

UNLIKE_HOME: Final = 0.15
"""Weight of the cells at home where those that are counted are not like them: 20 labeled cells count as 3.

`python benchmarks/differential.py --out FOLDER --weights FILE --drawn 50` prints what other weights would give.
"""

STEP: Final = 0.001
"""Limits are rounded outwards to this: a tenth of a percentage point, finer than any differential is read."""

_CHAINS: Final = 200
_BURN_IN: Final = 60
_KEPT: Final = 20  # draws of each chain, two steps apart
_APART: Final = 2


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of the classes, each float64[C], 0..1.

    Attributes:
        raw: what was counted.
        raw_low, raw_high: exact binomial 95 % limits of it: counting error alone.
        share, low, high: posterior mean and 95 % interval with the classifier's confusion; without a confusion matrix
            the raw ones.
    """

    raw: Floats
    raw_low: Floats
    raw_high: Floats
    share: Floats
    low: Floats
    high: Floats


def binomial_limits(count: float, total: float) -> tuple[float, float]:
    """Return the exact 95 % limits of a share, 0..1, for `count` of `total` cells.

    Clopper and Pearson 1934 (Biometrika 26:404-413, doi:10.1093/biomet/26.4.404). Rümke's table of the differential
    count (Rümke 1985, Blood Cells 11:311-314) has these limits, rounded outwards to whole percent.

    Args:
        count: number of cells of a class, 0 to `total`; it need not be whole.
        total: number of all cells; limits of no cells are 0 and 1.
    """
    if total <= 0:
        return 0.0, 1.0
    low = 0.0 if count <= 0 else float(beta.ppf(0.025, count, total - count + 1))
    high = 1.0 if count >= total else float(beta.ppf(0.975, count + 1, total - count))
    return low, high


def estimate_shares(
    counts: Counts, confusion: Counts | None, *, certain: Counts | None = None, home_weight: float = 1.0, seed: int = 0
) -> Shares:
    """Estimate the share of each class in the blood from the numbers of cells that a classifier gave each class.

    The model: cells come from the shares p; the classifier gives a cell of class i class j with probability t[i, j];
    row i of the confusion matrix is a sample of t[i]. p and each t[i] have Dirichlet distributions with Jeffreys'
    prior. Their posterior is drawn by Gibbs sampling, in which the true classes of the counted cells are latent (Tanner
    and Wong 1987, doi:10.1080/01621459.1987.10478458). It changes the class of no cell.

    Where the cells are not like those at home, the rates there differ from those at home by more than their sampling
    error. Each row of the confusion matrix is then discounted, as in a power prior (Ibrahim and Chen 2000,
    doi:10.1214/ss/1009212673), and Jeffreys' prior with it: the expected rates stay those at home, and their variance
    grows. Were Jeffreys' prior not discounted, few cells would count as many errors.

    Args:
        counts: cells that were given each class, int64[C].
        confusion: cells of a labeled sample, true class in the row, int64[C, C]; None if there is none.
        certain: further cells whose class an expert has given, int64[C]; None: none.
        home_weight: of each cell in `confusion`, above 0 to 1; 1 if the counted cells are like those at home.
        seed: of the draws.

    Raises:
        InputError: the numbers of classes differ, a number is negative, or the weight is out of range.
    """
    known = np.zeros_like(counts) if certain is None else certain
    _check(counts, confusion, known)
    if not 0.0 < home_weight <= 1.0:
        raise InputError(f"expected a weight of the cells at home above 0 and up to 1, got {home_weight}")
    both, total = counts + known, int((counts + known).sum())
    limits = np.array([binomial_limits(float(count), total) for count in both])
    raw = both / max(1, total)
    raw_low, raw_high = _outwards(limits[:, 0], limits[:, 1])
    if confusion is None or total == 0:
        return Shares(raw, raw_low, raw_high, raw, raw_low, raw_high)
    home = np.asarray(home_weight * (confusion + PRIOR), dtype=np.float64)
    draws = posterior_shares(counts, home, known, seed=seed)
    return Shares(raw, raw_low, raw_high, draws.mean(axis=0), *_outwards(*shortest_interval(draws)))


def posterior_shares(counts: Counts, home: Floats, certain: Counts, *, seed: int = 0) -> Floats:
    """Return draws from the posterior of the shares, float64[D, C]; see `estimate_shares`.

    `home` has the concentrations of the classifier's rates, true class in the row, above 0, float64[C, C].
    """
    rng = np.random.default_rng(seed)
    rates = _dirichlet(rng, np.tile(home, (_CHAINS, 1, 1)))
    shares = np.tile((counts + certain + PRIOR) / (counts + certain + PRIOR).sum(), (_CHAINS, 1))
    counted = np.broadcast_to(counts, (_CHAINS, len(counts)))
    kept = []
    for step in range(_BURN_IN + _KEPT * _APART):
        joint = shares[:, :, None] * rates  # chain, true class, counted class
        of_true = np.swapaxes(joint / joint.sum(axis=1, keepdims=True), 1, 2)
        latent = np.swapaxes(rng.multinomial(counted, of_true), 1, 2)
        shares = _dirichlet(rng, latent.sum(axis=2) + certain + PRIOR)
        rates = _dirichlet(rng, home + latent)
        if step >= _BURN_IN and (step - _BURN_IN) % _APART == 0:
            kept.append(shares)
    return np.concatenate(kept)


def shortest_interval(draws: Floats, covered: float = 0.95) -> tuple[Floats, Floats]:
    """Return the shortest intervals, float64[C] each, that hold a share of the draws float64[D, C].

    Of a class that may be absent the density is highest at 0, and the interval begins there.
    """
    ordered = np.sort(draws, axis=0)
    inside = int(np.ceil(covered * len(ordered)))
    widths = ordered[inside - 1 :] - ordered[: len(ordered) - inside + 1]
    first = widths.argmin(axis=0)
    places = np.arange(draws.shape[1])
    return ordered[first, places], ordered[first + inside - 1, places]


def _outwards(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return limits rounded outwards to `STEP`; a limit within rounding error of a step is left there."""
    return np.floor(low / STEP + 1e-9) * STEP, np.minimum(1.0, np.ceil(high / STEP - 1e-9) * STEP)


def _dirichlet(rng: np.random.Generator, concentration: Floats) -> Floats:
    """Return draws of Dirichlet distributions over the last axis."""
    gammas = np.maximum(rng.standard_gamma(concentration), 1e-300)
    return np.asarray(gammas / gammas.sum(axis=-1, keepdims=True))


def _check(counts: Counts, confusion: Counts | None, certain: Counts) -> None:
    if counts.ndim != 1 or len(counts) == 0 or counts.shape != certain.shape or min(counts.min(), certain.min()) < 0:
        raise InputError(f"expected numbers of cells of each class, got {counts.tolist()} and {certain.tolist()}")
    if confusion is not None and (confusion.shape != (len(counts), len(counts)) or confusion.min() < 0):
        raise InputError(
            f"expected a confusion matrix of {len(counts)} x {len(counts)} numbers of cells, got {confusion.tolist()}"
        )
