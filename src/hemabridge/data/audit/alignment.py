"""Lay one image onto another: turn, mirror, zoom and shift from one shared blob, refined on the pixels, and scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.data.audit.landmarks import ANGLES, Landmarks, rings_of

Floats = NDArray[np.float32]

MIN_OVERLAP = 0.25
"""Two views share at least this share of the pixels of the one that is nearer."""

LARGEST_ZOOM = 1.7
"""Two views differ in scale by at most this factor."""

HITS = 3
"""So many shared blobs of a pair are tried."""

_COARSE_PX, _FINE_PX = (1.5, 6.0), (0.8, 3.0)
_STEPS = 6
_FIRST_LIKENESS = 0.35
_COARSE_LIKENESS = 0.75
_LEAST_AGREEMENT = 0.7
_SURE = 0.95
_SETTLED_PX = 0.02
_BLOCK_PX = 12
_LEAST_BLOCKS = 12
_BORDER_PX = 2
_NOISE = 0.5
_POOR_PERCENT = 20
_POOR_LEEWAY = 0.25


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a point (row, column) of one picture lies in the other: `matrix` float64[2, 2] times it plus `shift`."""

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]

    @property
    def zoom(self) -> float:
        """How many pixels of the other picture one of this picture is."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def __call__(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64[2, N] of points [2, N]."""
        return np.asarray(self.matrix @ points + self.shift[:, None])


class View:
    """A picture in the two bands of detail in which it is compared; float32[H, W] each, about -128..127."""

    def __init__(self, landmarks: Landmarks) -> None:
        self.blobs = landmarks.blobs
        self.gray: Floats = landmarks.gray.astype(np.float32)
        self._rings: dict[int, Floats] = {}

    @cached_property
    def coarse(self) -> Floats:
        """The wide band, in which a rough placement is refined."""
        return _band(self.gray, *_COARSE_PX)

    @cached_property
    def fine(self) -> Floats:
        """The narrow band, in which it is settled."""
        return _band(self.gray, *_FINE_PX)

    @cached_property
    def coarse_slopes(self) -> Floats:
        """`coarse` and its down and right slopes, float32[3, H, W]."""
        return _with_slopes(self.coarse)

    @cached_property
    def fine_slopes(self) -> Floats:
        """`fine` and its down and right slopes, float32[3, H, W]."""
        return _with_slopes(self.fine)

    def rings(self, blob: int) -> Floats:
        """Return what lies around a blob without its mean, float32[RINGS, ANGLES]."""
        if blob not in self._rings:
            rings = rings_of(self.gray, self.blobs[blob])
            self._rings[blob] = rings - rings.mean()
        return self._rings[blob]


def likeness(first: View, second: View, hits: Sequence[tuple[int, int]]) -> float:
    """Return how well the detail of two images agrees where one is laid onto the other, -1..1; 0 if it cannot be.

    Args:
        first: one image.
        second: the other.
        hits: a blob of the first and one of the second that may be the same, the most alike first.
    """
    best = 0.0
    for one, two in hits[:HITS]:
        wide, near, seen, same = first, second, one, two
        if second.blobs[two, 2] < first.blobs[one, 2]:
            wide, near, seen, same = second, first, two, one
        for placed in _turned(wide, near, seen, same):
            best = max(best, _likeness_from(wide, near, placed))
        if best > _SURE:
            break
    return best


def _likeness_from(wide: View, near: View, start: Placed) -> float:
    if correlation(wide.coarse, near.coarse, start, stride=3) < _FIRST_LIKENESS:
        return 0.0
    placed = _refined(wide.coarse, near.coarse_slopes, start, stride=2)
    if placed is None or correlation(wide.coarse, near.coarse, placed, stride=2) < _COARSE_LIKENESS:
        return 0.0
    placed = _refined(wide.fine, near.fine_slopes, placed, stride=1)
    return 0.0 if placed is None else _local_likeness(wide.gray, near.gray, placed)


def _turned(wide: View, near: View, one: int, two: int) -> list[Placed]:
    """Return the best turns, with and without a mirror, that lay one blob onto another; the better one first."""
    there, here = wide.rings(one), near.rings(two)
    size = float(np.sqrt((there**2).sum() * (here**2).sum()))
    found = []
    for mirrored in (False, True):
        rings = np.roll(here[:, ::-1], 1, axis=1) if mirrored else here
        spectrum = (np.fft.rfft(there, axis=1).conj() * np.fft.rfft(rings, axis=1)).sum(axis=0)
        agreement = np.fft.irfft(spectrum, ANGLES)
        top = int(agreement.argmax())
        before, peak, after = agreement[top - 1], agreement[top], agreement[(top + 1) % ANGLES]
        bend = before - 2 * peak + after
        step = 2 * np.pi / ANGLES * (top + (0.5 * (before - after) / bend if bend < 0 else 0.0))
        found.append((-float(peak), mirrored, -np.pi - step if mirrored else step))
    blob, other = wide.blobs[one].astype(np.float64), near.blobs[two].astype(np.float64)
    turns = []
    for agreement_of, mirrored, angle in sorted(found):
        if -agreement_of >= _LEAST_AGREEMENT * size > 0:
            cos, sin = np.cos(angle), np.sin(angle)
            turn = np.array([[cos, sin], [-sin, cos]]) * (other[2] / blob[2])
            matrix = turn @ np.diag([1.0, -1.0]) if mirrored else turn
            turns.append(Placed(matrix, other[:2] - matrix @ blob[:2]))
    return turns


def correlation(wide: Floats, near: Floats, placed: Placed, *, stride: int) -> float:
    """Return the correlation of two pictures where they overlap, -1..1; 0 without overlap."""
    points = _grid(wide.shape, stride)
    there = placed(points)
    inside = _inside(there, near.shape)
    if not _overlaps(int(inside.sum()) * stride**2, wide, near, placed.zoom):
        return 0.0
    a = wide[points[0, inside], points[1, inside]]
    (b,) = _sampled(near[None], there[:, inside])
    return cosine(a - a.mean(), b - b.mean())


def _refined(wide: Floats, slopes: Floats, start: Placed, *, stride: int) -> Placed | None:
    """Return the placement at which the pictures differ least, by Gauss-Newton steps; None if the pictures part.

    Unknown are turn, zoom, two shifts, gain and offset (Lucas and Kanade 1981; Evangelidis and Psarakis 2008,
    doi:10.1109/TPAMI.2008.113).

    Args:
        wide: the picture that is laid, float32[H, W].
        slopes: the other picture with its slopes, float32[3, H', W'].
        start: where the first picture lies in the other.
        stride: every so many pixels are compared.
    """
    points, placed, near = _grid(wide.shape, stride), start, slopes[0]
    middle = np.array(near.shape)[:, None] / 2
    for _ in range(_STEPS):
        there = placed(points)
        inside = _inside(there, near.shape)
        if not _overlaps(int(inside.sum()) * stride**2, wide, near, placed.zoom):
            return None
        at = there[:, inside]
        value, down, right = _sampled(slopes, at)
        goal = wide[points[0, inside], points[1, inside]]
        gain = float((goal * value).sum() / max((value * value).sum(), 1e-9))
        if gain <= 0:
            return None
        rows, columns = at - middle
        parts = np.empty((6, len(value)))
        parts[0] = gain * (down * rows + right * columns)
        parts[1] = gain * (down * columns - right * rows)
        parts[2:] = gain * down, gain * right, value, np.ones_like(value)
        square = parts @ parts.T
        change = np.linalg.solve(square + np.diag(1e-6 * square.diagonal() + 1e-9), parts @ (goal - gain * value))
        grown = np.eye(2) + np.array([[change[0], change[1]], [-change[1], change[0]]])
        center = middle[:, 0]
        placed = Placed(grown @ placed.matrix, grown @ (placed.shift - center) + center + change[2:4])
        if not 1 / LARGEST_ZOOM <= placed.zoom <= LARGEST_ZOOM:
            return None
        if np.abs(change[:2]).max() * max(near.shape) / 2 + np.abs(change[2:4]).max() < _SETTLED_PX:
            break
    return placed


def _local_likeness(wide: Floats, near: Floats, placed: Placed) -> float:
    """Return how well the fine detail of the overlap agrees block by block, so that no one edge decides, -1..1."""
    blur = 0.5 * np.sqrt(max(placed.zoom**2 - 1, 0.0))
    smooth = ndimage.gaussian_filter(near, blur, mode="nearest") if blur > 0.2 else near
    points = _grid(wide.shape, 1)
    there = placed(points)
    inside = _inside(there, near.shape).reshape(wide.shape)
    laid = ndimage.map_coordinates(smooth, there, order=1, mode="nearest").reshape(wide.shape)
    inside = ndimage.binary_erosion(inside, iterations=_BORDER_PX)
    a, b = (np.where(inside, _band(one, *_FINE_PX), 0) for one in (wide, laid))
    return block_agreement(a, b, inside, _BLOCK_PX)


def block_agreement(a: Floats, b: Floats, inside: NDArray[np.bool_], block_px: int) -> float:
    """Return the correlation of two details over the blocks of a grid, -1..1; 0 with too few blocks.

    It is the mean over the blocks, or the 20th percentile plus a quarter if that is less: what all images of a
    microscope share (a black frame, a scale bar) agrees in some blocks, a copy in nearly all that show something.

    Args:
        a: detail of one image, float32[H, W], 0 outside.
        b: that of the other one, laid onto it.
        inside: bool[H, W], where both images are known.
        block_px: side of a block; one that is less than half inside does not count.
    """
    n, ab, aa, bb = (_block_sums(one, block_px) for one in (inside.astype(np.float32), a * b, a * a, b * b))
    full = n >= block_px**2 / 2
    if inside.sum() < _LEAST_BLOCKS * block_px**2 or full.sum() < _LEAST_BLOCKS:
        return 0.0
    n, ab, aa, bb = (one[full] for one in (n, ab, aa, bb))
    contrast = np.sqrt(np.sqrt(aa * bb) / n)
    weight = np.minimum(contrast, 2 * np.median(contrast)) * n
    floor = _NOISE**2 * n
    local = ab / np.sqrt((aa + floor) * (bb + floor))
    mean = float((weight * local).sum() / max(weight.sum(), 1e-9))
    poorest = float(np.percentile(local[contrast >= np.median(contrast) / 2], _POOR_PERCENT))
    return min(mean, poorest + _POOR_LEEWAY)


def _block_sums(picture: Floats, block_px: int) -> Floats:
    height, width = (-(-side // block_px) * block_px for side in picture.shape)
    padded = np.zeros((height, width), np.float32)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    blocks = padded.reshape(height // block_px, block_px, width // block_px, block_px)
    return np.asarray(blocks.sum(axis=(1, 3))).ravel()


def _with_slopes(picture: Floats) -> Floats:
    return np.stack([picture, *(np.gradient(picture, axis=axis) for axis in (0, 1))])


def _sampled(pictures: Floats, points: NDArray[np.float64]) -> Floats:
    """Return pictures [K, H, W] at points [2, N] inside of them, by bilinear interpolation: float32[K, N].

    To the bit what `scipy.ndimage.map_coordinates` gives for each picture alone; the weights are found once for all.
    """
    height, width = pictures.shape[1:]
    low = points.astype(np.intp)
    first = 1.0 - (points - low)
    (up, left), (down, right) = first, 1.0 - first
    top, beside = low[0] * width, low[1]
    bottom = np.minimum(low[0] + 1, height - 1) * width
    after = np.minimum(beside + 1, width - 1)
    found = np.empty((len(pictures), points.shape[1]), np.float32)
    for place, picture in enumerate(pictures.reshape(len(pictures), -1)):
        total = picture.take(top + beside) * up * left
        total += picture.take(top + after) * up * right
        total += picture.take(bottom + beside) * down * left
        total += picture.take(bottom + after) * down * right
        found[place] = total
    return found


def _band(gray: Floats, fine_px: float, coarse_px: float) -> Floats:
    smooth = ndimage.gaussian_filter(gray, fine_px, mode="nearest")
    return np.asarray(smooth - ndimage.gaussian_filter(gray, coarse_px, mode="nearest"))


@lru_cache(maxsize=256)
def _grid(shape: tuple[int, int], stride: int) -> NDArray[np.int64]:
    return np.stack(np.meshgrid(*(np.arange(0, side, stride) for side in shape), indexing="ij")).reshape(2, -1)


def _inside(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, columns = points
    return np.asarray((rows >= 0) & (columns >= 0) & (rows <= shape[0] - 1) & (columns <= shape[1] - 1))


def _overlaps(pixels: int, wide: Floats, near: Floats, zoom: float) -> bool:
    return pixels >= MIN_OVERLAP * min(wide.size, near.size / max(zoom, 1e-3) ** 2)


def cosine(a: Floats, b: Floats) -> float:
    """Return the correlation of two details float32[...] around 0, -1..1; 0 if one has none."""
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
