"""Matching of a site's luminance distribution to another's, which colorization needs before it predicts color."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.sampling import evenly_spaced, thinned

LEVELS = 1024
"""Entries of a luminance curve, evenly spaced over L 0..100."""

SAMPLED_IMAGES = 400
SAMPLED_PIXELS = 2_000_000


def sampled_lab(images: UInt8Images) -> NDArray[np.float32]:
    """Return CIE Lab float32[M, 3] of evenly spaced images and pixels of uint8[N, H, W, 3], N at least 1.

    The sample is deterministic. M is about `SAMPLED_PIXELS`, or the number of all pixels if there are fewer.
    """
    chosen = evenly_spaced(len(images), SAMPLED_IMAGES, ends=True)
    pixels = images[chosen].reshape(-1, 3)
    return rgb_to_lab(thinned(pixels, SAMPLED_PIXELS))


def luminance_curve(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the new value of each of `LEVELS` values of L that gives the source's L the target's distribution.

    Gonzalez and Woods, Digital Image Processing (4th ed., 2018), section 3.3: s = G^-1(F(r)). Unlike there, a value
    that many pixels have is mapped to the middle of their ranks, not to the highest rank: an overexposed field becomes
    the target's median field, not its brightest pixel.

    Args:
        source: L of the source's pixels, 0..100, float32[M].
        target: L of the target's pixels, 0..100, float32[K].

    Returns:
        float32[LEVELS], rising, 0..100, for L = 0 .. 100.
    """
    ordered, wanted = np.sort(source), np.sort(target)
    grid = np.linspace(0.0, 100.0, LEVELS, dtype=np.float32)
    ranks = (np.searchsorted(ordered, grid, "left") + np.searchsorted(ordered, grid, "right")) / (2.0 * len(ordered))
    curve = np.interp(ranks, (np.arange(len(wanted)) + 0.5) / len(wanted), wanted)
    return np.asarray(curve, np.float32)


def through_curve(luminance: Tensor, curve: Tensor) -> Tensor:
    """Map L 0..100, a float tensor of any shape, by a curve float[LEVELS], linearly between its entries."""
    place = luminance.clamp(0.0, 100.0) * ((len(curve) - 1) / 100.0)
    below = place.floor().clamp(max=len(curve) - 2)
    index = below.long()
    low, high = curve[index], curve[index + 1]
    return low + (place - below) * (high - low)


def jittered(luminance: Tensor, strength: float) -> Tensor:
    """Change the brightness of each image of float[B, 1, H, W], L 0..100, to imitate an imperfectly matched site.

    L / 100 becomes gain * (L / 100)^gamma; the logarithms of both are drawn from -strength..strength with torch's
    global generator.
    """
    draws = (torch.rand(2, len(luminance), 1, 1, 1, device=luminance.device) * 2.0 - 1.0) * strength
    gamma, gain = draws.exp()
    changed = gain * (luminance.clamp(0.0, 100.0) / 100.0) ** gamma
    bounded: Tensor = changed.clamp(max=1.0)
    return 100.0 * bounded
