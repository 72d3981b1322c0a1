"""Compartments of a leukocyte image: nucleus, cytoplasm, red cells, background.

All measures are relative to the image's own background color, so that no constant depends on one hospital's lamp,
camera or stain. Two things are assumed. The stain is a Romanowsky stain (May-Grünwald-Giemsa, Giemsa, Wright), in which
azure B, bound to chromatin with eosin, absorbs much green and little blue, while hemoglobin and eosinophil granules
absorb blue as well. And a leukocyte is near the center of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu
from skimage.segmentation import watershed

from hemabridge.imaging.kept import Kept, content_hash
from hemabridge.imaging.masks import Mask, dilated, eroded, opened, without_holes
from hemabridge.imaging.standardizer import UInt8Image

FloatMap = NDArray[np.float32]

WORK_PX = 160
"""Longest side at which masks are found, in pixels. Larger images are resized, and the masks are resized back."""

BLUE_SHARE = 0.5
"""The chromatin index is the light absorbed in green minus this share of the light absorbed in blue."""

LEAST_CONTRAST = 0.2
"""Smallest range of the chromatin index, as a share of the background's light, in an image with a nucleus."""

OTSU_BINS = 128
"""Number of bins of the histograms for Otsu's thresholds."""

CENTER_SPREAD = 0.15
"""Standard deviation of the weight of pieces near the center, as a share of the longer side."""

FOREGROUND_SHARE = 0.7
"""Share of Otsu's lower threshold of green from which a pixel is foreground; below 1, to include pale cytoplasm."""

_RECENT: Kept[str, "Compartments"] = Kept(128)
_LARGEST_KEPT = 128 * 128
"""Masks of recent images of at most so many pixels are kept: normalizers, guard and selection ask for those of the same
cells. They take 8 MB at most."""

_BLUR = np.exp(-(np.arange(-12, 13) ** 2) / (2 * 3.0**2))
_BLUR /= _BLUR.sum()
"""Gaussian of three gray levels up to four standard deviations, as scipy computes it for each picture."""


@dataclass(frozen=True)
class Compartments:
    """Disjoint masks bool[H, W] of one image.

    Platelets, debris and the nuclei of other leukocytes are in none of them.
    """

    nucleus: Mask
    cytoplasm: Mask
    red_cells: Mask
    background: Mask

    @property
    def cell(self) -> Mask:
        """The central leukocyte: nucleus and cytoplasm, bool[H, W]."""
        return self.nucleus | self.cytoplasm


def segment(image: UInt8Image) -> Compartments:
    """Find the compartments of an MGG or Giemsa image centered on a leukocyte.

    Nuclei and foreground are found by three-class thresholds (Otsu 1979, IEEE Trans. SMC 9(1),
    doi:10.1109/TSMC.1979.4310076) of the absorbed light. A watershed of the depth inside the foreground (Meyer 1994,
    doi:10.1016/0165-1684(94)90060-4) separates the cell from red cells that touch it.

    Args:
        image: RGB uint8[H, W, 3] of any size.

    Returns:
        Masks of the image's size, only to be read. If no nucleus is found, as in a blank image, all pixels are
        background.
    """
    if image.shape[0] * image.shape[1] > _LARGEST_KEPT:
        return _segmented(image)
    return _RECENT.get(content_hash(image), lambda: _segmented(image))


def _segmented(image: UInt8Image) -> Compartments:
    height, width = image.shape[:2]
    masks: Sequence[Mask] = _find(_light_lost(_shrunk(image)))
    if masks[0].shape != (height, width):
        numbered = sum(np.uint8(number) * mask for number, mask in enumerate(masks, 1))  # no pixel is in two of them
        picture = Image.fromarray(np.asarray(numbered)).resize((width, height), Image.Resampling.NEAREST)
        masks = [np.asarray(picture) == number for number in range(1, len(masks) + 1)]
    for mask in masks:
        mask.setflags(write=False)
    return Compartments(*masks)


def background_color(image: UInt8Image) -> FloatMap:
    """Return the color of the empty field, float32[3], 0..255.

    It is the median color of the brightest peak of green values that is at least a fifth as frequent as the most
    frequent one. Cells only absorb light, and glints and dead pixels are few.

    Args:
        image: RGB uint8[H, W, 3].
    """
    pixels = image.reshape(-1, 3)
    green = np.ascontiguousarray(pixels[:, 1])
    counts = np.bincount(green, minlength=256).astype(np.float64)
    smooth = ndimage.correlate1d(counts, _BLUR, mode="nearest")
    beside = np.full(len(smooth) + 2, -1.0)
    beside[1:-1] = smooth
    is_peak = (smooth > beside[:-2]) & (smooth >= beside[2:]) & (smooth >= 0.2 * smooth.max())
    peak = int(np.flatnonzero(is_peak)[-1])
    chosen = pixels.compress((green >= max(0, peak - 4)) & (green <= min(255, peak + 4)), axis=0)
    # The smoothed peak may be at a value that no pixel has.
    return _median_color(chosen if len(chosen) else pixels)


def _median_color(colors: UInt8Image) -> FloatMap:
    """Return the median of each channel of uint8[P, 3], float32[3], by counting: much faster than by sorting."""
    middle = np.empty(3, np.float32)
    ranks = np.array([(len(colors) - 1) // 2, len(colors) // 2])
    for channel in range(3):
        reached = np.cumsum(np.bincount(colors[:, channel], minlength=256))
        middle[channel] = np.searchsorted(reached, ranks, side="right").mean()
    return middle


def _shrunk(image: UInt8Image) -> UInt8Image:
    height, width = image.shape[:2]
    factor = max(height, width) / WORK_PX
    if factor <= 1:
        return image
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BOX))


def _light_lost(image: UInt8Image) -> FloatMap:
    """Return the absorbed share of the background's light, float32[H, W, 3]: 0 in the empty field, 1 in black."""
    light = image.astype(np.float32) / np.maximum(background_color(image), 1)
    smooth = ndimage.gaussian_filter(light, (1, 1, 0))  # against noise and chromatin texture
    return np.asarray(np.clip(1 - smooth, 0, 1), np.float32)


def _find(lost: FloatMap) -> tuple[Mask, Mask, Mask, Mask]:
    """Return nucleus, cytoplasm, red cells and background."""
    green = lost[..., 1]
    chromatin = np.clip(green - BLUE_SHARE * lost[..., 2], 0, None)
    nothing = np.zeros(green.shape, bool)
    blank = (nothing, nothing.copy(), nothing.copy(), ~nothing)
    of_chromatin, of_green = _thresholds(chromatin), _thresholds(green)
    if of_chromatin is None or of_green is None:
        return blank
    dark, pale = of_chromatin[1], of_green[0]
    nuclei = opened(chromatin > dark)
    main = _main_piece(nuclei)
    if not main.any():
        return blank
    foreground = without_holes((green > FOREGROUND_SHARE * pale) | nuclei, 0.15 * np.count_nonzero(main))
    cell = _central_cell(np.where(main, chromatin - dark, 0), foreground)
    nucleus = _refined_nucleus(_lobes(nuclei & cell), cell, chromatin)
    return nucleus, cell & ~nucleus, foreground & ~cell & ~nuclei, ~(foreground | cell)


def _thresholds(values: FloatMap) -> tuple[float, float] | None:
    """Return Otsu's two thresholds between three classes; None without enough contrast, or in fewer than three bins.

    A picture of a few pixels or of two flat colors has fewer.
    """
    if np.ptp(values) < LEAST_CONTRAST:
        return None
    counts, centers = _histogram(values)
    if np.count_nonzero(counts) < 3:
        return None
    low, high = threshold_multiotsu(classes=3, hist=(counts / counts.sum(), centers))  # type: ignore[no-untyped-call]
    return float(low), float(high)


def _histogram(values: FloatMap) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return counts and centers of `OTSU_BINS` bins from the smallest to the largest value."""
    counts, edges = np.histogram(values, OTSU_BINS)
    return counts, (edges[:-1] + edges[1:]) / 2.0


def _main_piece(nuclei: Mask) -> Mask:
    """Return the piece of chromatin that is large and near the center."""
    labels, count = ndimage.label(nuclei)
    weights = np.bincount(labels.ravel(), weights=_nearness(*nuclei.shape).ravel(), minlength=count + 1)
    weights[0] = 0
    best = int(np.argmax(weights))
    return np.asarray((labels == best) & (best > 0))


@lru_cache(maxsize=8)
def _nearness(height: int, width: int) -> NDArray[np.float64]:
    """Return the weight of pixels by their distance from the center, float64[H, W]."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    return np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * (CENTER_SPREAD * max(height, width)) ** 2))


def _central_cell(excess: FloatMap, foreground: Mask) -> Mask:
    """Divide the foreground where it is narrow, and keep parts with at least a fifth of the main piece's chromatin.

    Dense chromatin of the main piece is always kept.

    Args:
        excess: Chromatin index above its threshold inside the main piece, 0 elsewhere, float32[H, W].
        foreground: All but the background, bool[H, W]; it contains the main piece.
    """
    radius = np.sqrt(np.count_nonzero(excess) / np.pi)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 1)
    summits = depth == ndimage.maximum_filter(depth, 2 * round(0.35 * radius) + 1)
    markers, _ = ndimage.label(summits & (depth > 0.2 * radius))
    basins = watershed(-depth, markers, mask=foreground)  # type: ignore[no-untyped-call]
    held = np.bincount(basins.ravel(), weights=excess.ravel())
    own = held > 0.2 * held.sum()
    own[0] = False
    dense = excess > 0.5 * np.median(excess[excess > 0])
    return without_holes(opened(own[basins] | dense, 2))


def _refined_nucleus(nucleus: Mask, cell: Mask, chromatin: FloatMap) -> Mask:
    """Return the nucleus by a threshold from the cell alone, if its chromatin index has two clear classes.

    This threshold does not depend on red cells, and separates dark cytoplasm from the nucleus. The classes are clear if
    they explain four fifths of the variance (Otsu's eta), and if the lower mean is at most three quarters of the upper
    one.
    """
    inner = chromatin[eroded(cell, 3)]  # the blurred rim is not a class
    if inner.size < 2 or np.ptp(inner) < LEAST_CONTRAST:
        return nucleus
    threshold = threshold_otsu(hist=_histogram(inner))  # type: ignore[no-untyped-call]
    high = inner > threshold
    upper, lower, share = inner[high].mean(), inner[~high].mean(), high.mean()
    explained = share * (1 - share) * (upper - lower) ** 2 / inner.var()
    if explained < 0.8 or lower > 0.75 * upper:
        return nucleus
    return _lobes(opened(chromatin > threshold) & cell)


def _lobes(pieces: Mask) -> Mask:
    """Remove specks and thin rims; close notches and small holes between chromatin clumps."""
    window = _window(pieces)
    if window is None:
        return pieces
    labels, count = ndimage.label(pieces[window])
    sizes = np.bincount(labels.ravel())
    depths = np.zeros(count + 1)
    np.maximum.at(depths, labels.ravel(), ndimage.distance_transform_edt(pieces[window]).ravel())
    sizes[0] = 0
    kept = ((sizes >= 0.04 * sizes.max()) & (depths >= 0.4 * depths.max()))[labels]
    closed = eroded(dilated(kept, 1), 1) | kept
    whole = np.zeros_like(pieces)
    whole[window] = without_holes(closed, 0.03 * np.count_nonzero(kept))
    return whole


def _window(mask: Mask) -> tuple[slice, slice] | None:
    """Return the rows and columns that contain a mask, with two pixels around it; None if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    return slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)
