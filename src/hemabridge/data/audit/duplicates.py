"""Copies and second photographs of one field: exact by file hash, near by perceptual hash and aligned pixels.

Images of cells resemble each other, so a perceptual hash alone gives false alarms: of the 21 million pairs of 6,560
real images of three laboratories, 4,107 differ in at most 12 bits. The hash therefore only proposes pairs. A pair is a
near duplicate if the fine detail of both images correlates after the best small shift.

Both thresholds were chosen on these same images, so the following numbers are no independent test. 9 pairs pass, one of
them an exact copy, and all 9 show one cell by eye. The most similar pair of different cells has a correlation of 0.78.
At least four pairs of one cell are missed, whose photographs differ in magnification or focus. An audit without near
duplicates is therefore no proof that there are none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet

from hemabridge.data.manifest import Manifest, with_hashes
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import FileProgress

MAX_HAMMING = 10
"""Largest number of bits of the perceptual hash in which the images of a proposed pair differ."""

MIN_CORRELATION = 0.82
"""Correlation of fine detail from which two images show the same field, -1..1."""

THUMBNAIL_PX = 48
MAX_SHIFT_PX = 5
"""Largest shift between two photographs of one field, in pixels of the thumbnail (a tenth of the side)."""

BLANK_CONTRAST = 1.0
"""Standard deviation of gray values, 0..255, below which an image is blank."""

_DETAIL_SIGMA_PX = 3.0
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """A short description of an image: `bits` bool[64] (perceptual hash), `thumbnail` uint8[48, 48] (gray)."""

    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]

    @property
    def is_blank(self) -> bool:
        """Whether the image has almost no contrast."""
        return float(self.thumbnail.std()) < BLANK_CONTRAST


@dataclass(frozen=True)
class SameField:
    """Positions of images that show the same field, and the lowest correlation of the pairs that link them."""

    positions: tuple[int, ...]
    correlation: float


def fingerprint(image: UInt8Image) -> Fingerprint:
    """Return the fingerprint of an RGB image uint8[H, W, 3].

    The hash is pHash, the signs of the low frequencies of the cosine transform (Zauner 2010, Implementation and
    benchmarking of perceptual image hash functions).
    """
    gray = Image.fromarray(image).convert("L")
    thumbnail = np.asarray(gray.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))
    return Fingerprint(np.asarray(imagehash.phash(gray).hash, dtype=bool).ravel(), thumbnail)


def same_fields(fingerprints: Sequence[Fingerprint]) -> list[SameField]:
    """Group the images that show the same field; blank images are in no group.

    The time grows with the square of the number of images; 20,000 images take seconds.

    Args:
        fingerprints: one per image; exact copies should be left out.
    """
    positions = [position for position, found in enumerate(fingerprints) if not found.is_blank]
    if not positions:
        return []

    @lru_cache(maxsize=4_096)
    def detail(row: int) -> NDArray[np.float32]:
        return fine_detail(fingerprints[positions[row]].thumbnail)

    groups = DisjointSet(range(len(positions)))
    links: list[tuple[int, float]] = []
    for first, second in near_pairs(np.stack([fingerprints[position].bits for position in positions]), MAX_HAMMING):
        if not groups.connected(first, second):
            correlation = aligned_correlation(detail(first), detail(second))
            if correlation >= MIN_CORRELATION:
                groups.merge(first, second)
                links.append((first, correlation))
    found = {groups[first]: sorted(groups.subset(first)) for first, _ in links}
    return [
        SameField(
            tuple(positions[row] for row in rows),
            min(correlation for first, correlation in links if groups[first] == root),
        )
        for root, rows in found.items()
    ]


def fine_detail(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a gray thumbnail without the coarse structure that all cells share: float32[S, S], about -128..127."""
    gray = thumbnail.astype(np.float32)
    return gray - np.asarray(ndimage.gaussian_filter(gray, _DETAIL_SIGMA_PX), dtype=np.float32)


def near_pairs(bits: NDArray[np.bool_], max_hamming: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs first < second of rows of bool[N, K] that differ in at most `max_hamming` places."""
    signs = np.where(bits, np.float32(1), np.float32(-1))
    width = bits.shape[1]
    for start in range(0, len(signs), _BLOCK):
        block = signs[start : start + _BLOCK]
        # The product of two rows of signs is (equal places - different places).
        near = block @ signs[start:].T >= width - 2 * max_hamming
        for row, column in np.argwhere(np.triu(near, k=1)):
            yield int(row) + start, int(column) + start


def aligned_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of two details float32[S, S] at the best shift of at most `MAX_SHIFT_PX`, -1..1."""
    spectrum = np.fft.rfft2(first) * np.conj(np.fft.rfft2(second))
    surface = np.roll(np.fft.irfft2(spectrum, s=first.shape), (MAX_SHIFT_PX, MAX_SHIFT_PX), (0, 1))
    window = surface[: 2 * MAX_SHIFT_PX + 1, : 2 * MAX_SHIFT_PX + 1]
    down, right = (int(index) - MAX_SHIFT_PX for index in np.unravel_index(window.argmax(), window.shape))
    a, b = _overlap(first, down, right), _overlap(second, -down, -right)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def _overlap(image: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Return the part of an image that is still visible after a move up by `down` and left by `right` pixels."""
    height, width = image.shape
    return image[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]


def exact_copies(hashes: Sequence[str]) -> list[tuple[int, ...]]:
    """Group the positions that have the same hash."""
    positions: dict[str, list[int]] = {}
    for position, digest in enumerate(hashes):
        positions.setdefault(digest, []).append(position)
    return [tuple(rows) for rows in positions.values() if len(rows) > 1]


def first_of_each(hashes: Sequence[str]) -> list[int]:
    """Return the position of the first occurrence of each hash."""
    first: dict[str, int] = {}
    for position, digest in enumerate(hashes):
        first.setdefault(digest, position)
    return list(first.values())


def near_duplicates(manifest: Manifest, *, progress: FileProgress | None = None) -> list[tuple[str, ...]]:
    """Return groups of paths of images that show the same field and are not copies of one file.

    Raises:
        ImageError: an image cannot be read.
    """
    hashed = with_hashes(manifest)
    firsts = first_of_each(hashed.column("sha256"))
    paths = hashed.paths()
    fingerprints = []
    for number, row in enumerate(firsts, start=1):
        fingerprints.append(fingerprint(read_image(paths[row])))
        if progress is not None:
            progress(number, len(firsts))
    names = hashed.column("path")
    return [tuple(names[firsts[i]] for i in group.positions) for group in same_fields(fingerprints)]
