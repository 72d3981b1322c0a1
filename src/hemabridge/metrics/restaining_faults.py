"""Measures that tell a re-stainer that works from one that failed: inverted, idle, constant, all alike, checkered.

All take stacks uint8[N, H, W, 3] (RGB, 0..255); what is compared image by image stands in the same order in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images

GRID_PERIODS_PX: Final = (2, 4)
"""Two transposed convolutions of stride 2 leave a grid of 2 px and one of 4 px."""

CONSTANT_BELOW, ALIKE_BELOW, IDLE_BELOW = 0.1, 0.1, 0.1
"""Shares of the originals' contrast, of their differences, and of the least change between two sites."""

VISIBLE_CHANGE: Final = 4.0
"""Sites that need less change than this (CIE76) look alike, so that doing nothing is right."""

GRID_LEVELS: Final = 5.0
"""A grid of this amplitude, in gray levels beyond that of the originals, is seen as a texture."""

HIDDEN_ABOVE: Final = 3.0
"""A reconstruction that saving makes so many times worse was not made from what is visible."""

_LUMA: Final = np.array([0.299, 0.587, 0.114])
_FLAT_LEVELS: Final = 1.0
_SITE_PIXELS: Final = 20_000


@dataclass(frozen=True)
class Measures:
    """What one look at a re-stainer has measured.

    Attributes:
        luminance_correlation: of images with their originals, -1..1.
        kept_contrast: spread within images as a share of the originals'.
        kept_differences: distance between images as a share of the originals'.
        change: mean color difference to the originals as a share of `least_change`; 1 or more where the target is
            reached, None where the sites look alike.
        grid: largest amplitude of a regular grid beyond the originals', in gray levels.
        hidden: `hidden_information`; None without a way back.
    """

    luminance_correlation: float
    kept_contrast: float
    kept_differences: float
    change: float | None
    grid: float
    hidden: float | None


def measure_restaining(
    restained: UInt8Images, originals: UInt8Images, least: float, hidden: float | None = None
) -> Measures:
    """Measure images against their originals, both uint8[N, H, W, 3].

    Args:
        restained: the images.
        originals: the same cells before.
        least: `least_change` between the two sites, or 0 if they look alike.
        hidden: `hidden_information` of the way back, where there is one.
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
    )


def faults_in(found: Measures) -> list[str]:
    """Return the faults that the measures show, by name: those of `hemabridge.translators.watchdog.MEANINGS`."""
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

    Below 0 the image is inverted: what was dark is bright. An image, or an original, of one gray has none and is left
    out; 1 where all are left out, since nothing is turned round then.
    """
    found = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(_luma(restained), _luma(originals), strict=True)
        if min(a.std(), b.std()) >= _FLAT_LEVELS
    ]
    return float(np.mean(found)) if found else 1.0


def kept_contrast(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the spread of luminance within images as a share of that within their originals; 0 is a constant output.

    The median over images of the ratio of standard deviations; 1 where all originals are of one gray.
    """
    within = [
        a.std() / b.std() for a, b in zip(_luma(restained), _luma(originals), strict=True) if b.std() >= _FLAT_LEVELS
    ]
    return float(np.median(within)) if within else 1.0


def kept_differences(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return how far images are from each other, as a share of how far their originals are: 0 is all alike.

    The root mean square distance of pixels to the mean image, over both; 1 where all originals are alike.
    """
    before, after = (
        float(np.sqrt(stack.astype(np.float64).var(axis=0).mean())) if len(stack) else 0.0
        for stack in (originals, restained)
    )
    return after / before if before >= _FLAT_LEVELS else 1.0


def least_change(source: UInt8Images, target: UInt8Images) -> float:
    """Return the least mean color difference (CIE76) by which any map must move the source's pixels into the target's.

    No map of pixels whose outcome is distributed as the target can move them less on average than the root of the sum
    of squares of the Wasserstein-1 distances of L, a and b: the mean of a norm is at least the norm of the means, and
    each coordinate must at least be moved as far as its own distance says (Villani 2009, Optimal Transport,
    doi:10.1007/978-3-540-71050-9, ch. 6).
    """
    one, other = _site_lab(source), _site_lab(target)
    return float(np.linalg.norm([wasserstein_distance(one[:, axis], other[:, axis]) for axis in range(3)]))


def mean_change(restained: UInt8Images, originals: UInt8Images) -> float:
    """Return the mean color difference (CIE76, Euclidean in Lab) between images and their originals; 0 is idle."""
    steps = rgb_to_lab(restained).astype(np.float64) - rgb_to_lab(originals)
    return float(np.linalg.norm(steps, axis=-1).mean())


def grid_amplitudes(images: UInt8Images) -> NDArray[np.float64]:
    """Return the amplitude of a regular grid of each of `GRID_PERIODS_PX` in the images, in gray levels, float64[2].

    The power of luminance at the frequencies of the grid (Odena, Dumoulin & Olah 2016, doi:10.23915/distill.00003),
    over all images and with a Hann window against leakage, less what the frequencies around it have: a photograph's
    spectrum is smooth there. In the unit of a cosine's amplitude: a checkerboard of plus and minus 3 levels has 3.
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
    """Return how much worse a reconstruction gets when the re-stained image is saved first; about 1 is not at all.

    A generator that hides the original in imperceptible noise comes back well, but not after rounding to 8 bits and
    JPEG (Chu, Zhmoginov & Sandler 2017, CycleGAN, a master of steganography, arXiv:1712.02950).

    Args:
        originals: images of a site.
        cycled: them, re-stained and back.
        cycled_again: the same, with the re-stained images rounded and saved as JPEG between.
        saved: the originals themselves, saved as JPEG: what saving costs an honest way back too.

    Returns:
        The mean absolute error of `cycled_again` over the largest of that of `cycled`, that of `saved`, and one gray
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
    step = max(1, len(pixels) // _SITE_PIXELS)
    return rgb_to_lab(np.ascontiguousarray(pixels[::step])).astype(np.float64)


def _grid(side: int, period_px: int) -> Sequence[tuple[int, int]]:
    """Frequencies of a grid of this period that no shorter one of `GRID_PERIODS_PX` has."""
    step = side // period_px
    own = [(row * step, column * step) for row in range(period_px) for column in range(period_px)]
    shorter = {0, side // 2} if period_px == 4 else {0}
    return [place for place in own if not (place[0] in shorter and place[1] in shorter)]


def _excess(power: NDArray[np.float64], place: tuple[int, int]) -> float:
    """Power of a wave at a frequency above that of its neighbors, in squared amplitudes."""
    rows, columns = (np.arange(at - 4, at + 5) % len(power) for at in place)
    around = power[np.ix_(rows, columns)]
    ring = np.ones(around.shape, bool)
    ring[3:6, 3:6] = False  # the window spreads a wave over its next neighbors
    at_nyquist = all(2 * at % len(power) == 0 for at in place)
    # A real wave has half its amplitude at its frequency and half at the opposite one, but at Nyquist all of it.
    share = 1.0 if at_nyquist else 2.0
    return float(max(power[place] - around[ring].mean(), 0.0) * share)
