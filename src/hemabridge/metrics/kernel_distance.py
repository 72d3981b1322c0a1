"""The kernel distance (KID) of two sets of feature vectors, an unbiased estimate also for small sets."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def polynomial_kernel(one: Floats, other: Floats) -> Floats:
    """Return k(x, y) = (x.y / D + 1)^3 of features [N, D] and [M, D], float64[N, M].

    References:
        Binkowski, Sutherland, Arbel and Gretton (2018), Demystifying MMD GANs, section 4, arXiv:1801.01401.
    """
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3, np.float64)


class KernelDistance:
    """The squared maximum mean discrepancy of two sets, and of their resamples.

    It is the U-statistic of Gretton et al. (2012), eq. 3 (JMLR 13, 723-773), with the kernel of Binkowski et al.
    (2018). Its expectation is 0 for two samples of one distribution, of any size; it may be negative. In a resample, a
    cell that was drawn several times is never compared with itself, which would bias the distance upwards.

    Args:
        one: features [N, D], N at least 2.
        other: features [M, D], M at least 2.

    Raises:
        ValueError: a set has fewer than 2 members, or the numbers of features differ.
    """

    def __init__(self, one: Floats, other: Floats) -> None:
        if min(len(one), len(other)) < 2 or one.ndim != 2 or one.shape[1] != other.shape[1]:
            raise ValueError(f"expected two sets [N, D] of 2 or more, got shapes {one.shape} and {other.shape}")
        self._within, self._beyond = (_without_diagonal(polynomial_kernel(x, x)) for x in (one, other))
        self._between = polynomial_kernel(one, other)

    def value(self) -> float:
        """Return the distance of the sets themselves."""
        drawn = (np.ones((1, len(self._within))), np.ones((1, len(self._beyond))))
        return float(self.resampled(*drawn)[0])

    def resampled(self, one: Floats, other: Floats) -> Floats:
        """Return the distance of each resample, float64[B].

        Args:
            one: number of draws of each member of the first set, float64[B, N].
            other: the same for the second set, float64[B, M].
        """
        total_one, total_other = one.sum(axis=1), other.sum(axis=1)
        between = np.einsum("bn,nm,bm->b", one, self._between, other, optimize=True) / (total_one * total_other)
        return np.asarray(_mean_within(self._within, one) + _mean_within(self._beyond, other) - 2 * between)


def _mean_within(kernel: Floats, drawn: Floats) -> Floats:
    pairs = drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)
    return np.asarray(np.einsum("bn,nm,bm->b", drawn, kernel, drawn, optimize=True) / pairs)


def _without_diagonal(kernel: Floats) -> Floats:
    np.fill_diagonal(kernel, 0.0)
    return kernel
