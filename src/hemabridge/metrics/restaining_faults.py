"""Measures of the faults of a translator: inverted, idle, constant or collapsed output, a grid, hidden information.

All functions take stacks uint8[N, H, W, 3] (RGB, 0..255). Stacks that are compared image by image have the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.glass_tint import TINTED, glass_tints
from hemabridge.sampling import thinned

GRID_PERIODS_PX: Final = (2, 4)
"""Periods of the grids that two transposed convolutions of stride 2 make, in pixels."""

CONSTANT_BELOW, ALIKE_BELOW, IDLE_BELOW = 0.1, 0.1, 0.1
"""Limits of the faults, as shares of the originals' contrast, of their differences, and of `least_change`."""

VISIBLE_CHANGE: Final = 4.0
"""Sites with a smaller `least_change` (CIE76) have about the same colors, so that an idle output is correct."""

GRID_LEVELS: Final = 5.0
"""Amplitude of a grid, in gray levels above that of the originals, from which it is visible as a texture."""

HIDDEN_ABOVE: Final = 3.0
"""Ratio of the errors of a reconstruction with and without saving from which it uses invisible information."""

_LUMA: Final = np.array([0.299, 0.587, 0.114])
_FLAT_LEVELS: Final = 1.0
_SITE_PIXELS: Final = 20_000


@dataclass(frozen=True)
class Measures:
    """The measures of a translator at one time.

    Attributes:
        luminance_correlation: correlation of images with their originals, -1..1.
        kept_contrast: contrast within images as a share of that of the originals.
        kept_differences: distance between images as a share of that of the originals.
        change: mean color difference to the originals as a share of `least_change`; at least 1 if the target is
            reached, None if the sites have about the same colors.
        grid: largest amplitude of a regular grid above that of the originals, in gray levels.
        hidden: `hidden_information`; None without a generator for the other direction.
        tinted_glass: share of images with new blotches of color on empty glass (`glass_tint` above `TINTED`), 0..1.
    """

    luminance_correlation: float
    kept_contrast: float
    kept_differences: float
    change: float | None
    grid: float
    hidden: float | None
    tinted_glass: float = 0.0


def measure_restaining(
    restained: UInt8Images, originals: UInt8Images, least: float, hidden: float | None = None
) -> Measures:
    """Measure re-stained images, compared with their originals, both uint8[N, H, W, 3].

    Args:
        restained: the re-stained images.
        originals: the same cells before.
        least: `least_change` between the two sites; 0 if it is not known.
        hidden: `hidden_information` of both directions, if there is a generator for the other direction.
    """
    contrast = kept_contrast(restained, originals)
    grid = grid_amplitudes(restained) - grid_amplitudes(originals) * max(1.0, contrast)
    return Measures(
        luminance_correlation(restained, originals),
        contrast,
        kept_differences(restained, originals),
        mean_change(restained, originals) / least if least >= VISIBLE_CHANGE else None,
        float(max(grid.max(), 0.0)),
        hidden,
        float(np.mean(glass_tints(originals, restained) > TINTED)) if len(originals) else 0.0,
    )


def faults_in(found: Measures) -> list[str]:
    """Return the names of the faults that the measures show, as in `hemabridge.translators.watchdog.MEANINGS`."""
    constant = found.kept_contrast < CONSTANT_BELOW
    shown = {
        "inverted": found.luminance_correlation < 0 and not constant,
        "constant": constant,
        "collapsed": found.kept_differences < ALIKE_BELOW and not constant,
        "idle": found.change is not None and found.change < IDLE_BELOW,
        "checkered": found.grid > GRID_LEVELS,
        "hidden information": found.hidden is not None and found.hidden > HIDDEN_ABOVE,
    }
    return [name for name, is_shown in shown.items() if is_shown]


def luminance_correlation(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the mean Pearson correlation of each image's luminance with its original's, -1..1.

    Below 0 the image is inverted: dark places are bright. Images and originals of one gray have no correlation and are
    left out; if all are left out, the result is 1.
    """
    found = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(_luma(restained), _luma(originals), strict=True)
        if min(a.std(), b.std()) >= _FLAT_LEVELS
    ]
    return float(np.mean(found)) if found else 1.0


def kept_contrast(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the contrast of luminance within images as a share of that of their originals; 0 is a constant output.

    It is the median over images of the ratio of standard deviations; 1 if all originals are of one gray.
    """
    within = [
        a.std() / b.std() for a, b in zip(_luma(restained), _luma(originals), strict=True) if b.std() >= _FLAT_LEVELS
    ]
    return float(np.median(within)) if within else 1.0


def kept_differences(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the distance between images as a share of that between their originals; 0 is a collapsed output.

    The distance is the root mean square difference of pixels from the mean image; 1 if all originals are equal.
    """
    before, after = (
        float(np.sqrt(stack.astype(np.float64).var(axis=0).mean())) if len(stack) else 0.0
        for stack in (originals, restained)
    )
    return after / before if before >= _FLAT_LEVELS else 1.0


def least_change(source: UInt8Images, target: UInt8Images) -> float:
    """Return a lower bound of the mean color difference (CIE76) of any map from the source's colors to the target's.

    The bound is the root of the sum of squares of the Wasserstein-1 distances of L, a and b. The mean of a norm is at
    least the norm of the means, and the mean shift of each coordinate is at least its Wasserstein distance (Villani
    2009, Optimal Transport, doi:10.1007/978-3-540-71050-9, ch. 6).
    """
    one, other = _site_lab(source), _site_lab(target)
    return float(np.linalg.norm([wasserstein_distance(one[:, axis], other[:, axis]) for axis in range(3)]))


def mean_change(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the mean color difference (CIE76, Euclidean in Lab) of images from their originals; 0 is idle."""
    steps = rgb_to_lab(restained).astype(np.float64) - rgb_to_lab(originals)
    return float(np.linalg.norm(steps, axis=-1).mean())


def grid_amplitudes(images: UInt8Images) -> NDArray[np.float64]:
    """Return the amplitude of a regular grid of each of `GRID_PERIODS_PX` in the images, in gray levels, float64[2].

    It is computed from the mean power of luminance at the frequencies of the grid (Odena, Dumoulin & Olah 2016,
    doi:10.23915/distill.00003), with a Hann window against leakage, minus the mean power of the frequencies around it,
    since the spectrum of a photograph is smooth there. The unit is the amplitude of a cosine: a checkerboard of plus
    and minus 3 levels has 3.
    """
    side = min(images.shape[1:3]) // 4 * 4
    if side < 32 or len(images) == 0:
        return np.zeros(len(GRID_PERIODS_PX))
    window = np.outer(np.hanning(side + 1)[:-1], np.hanning(side + 1)[:-1])
    luma = _luma(images[:, :side, :side])
    spectra = np.fft.fft2((luma - luma.mean(axis=(1, 2), keepdims=True)) * window) / window.sum()
    power = (np.abs(spectra) ** 2).mean(axis=0)
    return np.array([np.sqrt(sum(_excess(power, place) for place in _grid(side, p))) for p in GRID_PERIODS_PX])


def hidden_information(
    originals: UInt8Images, cycled: UInt8Images, cycled_again: UInt8Images, saved: UInt8Images
) -> float:
    """Return the ratio of a reconstruction's errors with and without saving of the re-stained image; about 1 is best.

    A generator that hides the original in imperceptible noise can reconstruct it, but not after rounding to 8 bits and
    JPEG (Chu, Zhmoginov & Sandler 2017, CycleGAN, a master of steganography, arXiv:1712.02950).

    Args:
        originals: images of a site.
        cycled: the same images, re-stained and back.
        cycled_again: the same, with the re-stained images rounded and saved as JPEG in between.
        saved: the originals saved as JPEG, for the error that saving causes in any case.

    Returns:
        The mean absolute error of `cycled_again`, divided by the largest of those of `cycled` and `saved` and one gray
        level.
    """
    straight, again, cost = (
        float(np.abs(stack.astype(np.float64) - originals).mean()) for stack in (cycled, cycled_again, saved)
    )
    return max(again, 1.0) / max(straight, cost, 1.0)


def _luma(images: UInt8Images) -> NDArray[np.float64]:
    return np.asarray(images @ _LUMA, np.float64)


def _site_lab(images: UInt8Images) -> NDArray[np.float64]:
    pixels = images.reshape(-1, 3)
    return rgb_to_lab(np.ascontiguousarray(thinned(pixels, _SITE_PIXELS))).astype(np.float64)


def _grid(side: int, period_px: int) -> Sequence[tuple[int, int]]:
    """Return the frequencies of a grid of this period, without those of a shorter one of `GRID_PERIODS_PX`."""
    step = side // period_px
    own = [(row * step, column * step) for row in range(period_px) for column in range(period_px)]
    shorter = {0, side // 2} if period_px == 4 else {0}
    return [place for place in own if not (place[0] in shorter and place[1] in shorter)]


def _excess(power: NDArray[np.float64], place: tuple[int, int]) -> float:
    """Return the power of a wave at a frequency above that of its neighbors, in squared amplitudes."""
    rows, columns = (np.arange(at - 4, at + 5) % len(power) for at in place)
    around = power[np.ix_(rows, columns)]
    ring = np.ones(around.shape, bool)
    ring[3:6, 3:6] = False  # the window spreads a wave over its next neighbors
    at_nyquist = all(2 * at % len(power) == 0 for at in place)
    # A real wave has half its amplitude at its frequency and half at the opposite one, but at Nyquist all of it.
    share = 1.0 if at_nyquist else 2.0
    return float(max(power[place] - around[ring].mean(), 0.0) * share)
