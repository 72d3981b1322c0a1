"""Copies and other views of one field: exact by file hash, near by pixels that agree after one is laid onto the other.

Cells look alike, so what proposes pairs never decides. Two ways propose:

- A perceptual hash finds the same picture, saved or photographed again. A pair counts when the fine detail of both
  correlates after the best small shift. Both thresholds were set by looking at the 6,560 real images of three
  laboratories, before blocks were compared: 9 of 21 million pairs passed, all 9 showed one cell to the eye, and the
  nearest pair of different cells reached 0.78. A block-by-block check now keeps shared frames and labels out.
- Blobs that two images share (`landmarks`, `neighbors`) find mirrored, turned, resized, cropped and shifted views. One
  image is laid onto the other and compared block by block (`alignment`). How often that finds planted copies, and how
  often it takes different cells for one, is measured by `benchmarks/near_duplicates.py`.

Missed are photographs of one cell that differ much in focus or illumination, and views that share little. An audit
without near duplicates is therefore no proof that there are none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet

from hemabridge.data.audit.alignment import HITS, View, block_agreement, cosine, likeness
from hemabridge.data.audit.landmarks import Landmarks, landmarks
from hemabridge.data.audit.neighbors import Hit, alike
from hemabridge.data.manifest import Manifest, with_hashes
from hemabridge.imaging.files import read_image
from hemabridge.imaging.kept import Kept, content_hash
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import FileProgress

MAX_HAMMING = 10
"""Largest number of bits of the perceptual hash in which the images of a proposed pair differ."""

MIN_CORRELATION = 0.82
"""Correlation of fine detail from which two images show the same field, -1..1."""

MIN_LIKENESS = 0.85
"""Agreement of fine detail from which two images that were laid onto each other show the same field, -1..1.

Chosen on half of Clinic and on BCCD. Planted copies that are found agree by 0.88 and more at Tecom and by 0.96 and more
elsewhere. No different cells of the other half of Clinic, of Tecom or of Raabin-WBC are grouped (docs/benchmarks.md).
"""

THUMBNAIL_PX = 48
MAX_SHIFT_PX = 5
"""Largest shift between two photographs of one field, in pixels of the thumbnail (a tenth of the side)."""

BLANK_CONTRAST = 1.0
"""Standard deviation of gray values, 0..255, below which an image is blank."""

_DETAIL_SIGMA_PX = 3.0
_BLOCK = 1024
_BLOCK_PX = 6
_VIEWS = 512

_SKETCHES: Kept[str, "Sketch"] = Kept(2_000)
_LIKENESS: Kept[tuple[str, str, tuple[Hit, ...]], float] = Kept(50_000)
"""Sketches by image, and likeness by two images and the blobs that were tried, since a study splits the images of each
site, and audits the same images then."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """A short description of an image: `bits` bool[64] (perceptual hash), `thumbnail` uint8[48, 48] (gray)."""

    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]

    @property
    def is_blank(self) -> bool:
        """Whether the image has almost no contrast."""
        return float(self.thumbnail.std()) < BLANK_CONTRAST


@dataclass(frozen=True, eq=False)
class Sketch:
    """All that is kept of an image to find its copies, about 20 KB."""

    fingerprint: Fingerprint
    landmarks: Landmarks


@dataclass(frozen=True)
class SameField:
    """Positions of images that show the same field, and the lowest correlation of the pairs that link them."""

    positions: tuple[int, ...]
    correlation: float


def sketch(image: UInt8Image) -> Sketch:
    """Return the sketch of an RGB image uint8[H, W, 3]."""
    return _SKETCHES.get(content_hash(image), lambda: Sketch(fingerprint(image), landmarks(image)))


def fingerprint(image: UInt8Image) -> Fingerprint:
    """Return the fingerprint of an RGB image uint8[H, W, 3].

    The hash is pHash, the signs of the low frequencies of the cosine transform (Zauner 2010, Implementation and
    benchmarking of perceptual image hash functions).
    """
    gray = Image.fromarray(image).convert("L")
    thumbnail = np.asarray(gray.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))
    return Fingerprint(np.asarray(imagehash.phash(gray).hash, dtype=bool).ravel(), thumbnail)


def same_fields(sketches: Sequence[Sketch]) -> list[SameField]:
    """Group the images that show the same field; blank images are in no group.

    The views may be mirrored, turned, resized, cropped or shifted. A group holds all that are linked through others.

    Args:
        sketches: one per image; exact copies should be left out.
    """
    positions = [position for position, one in enumerate(sketches) if not one.fingerprint.is_blank]
    kept = [sketches[position] for position in positions]
    groups = DisjointSet(range(len(kept)))
    links = [
        *_same_pictures([one.fingerprint for one in kept], groups),
        *_same_places([one.landmarks for one in kept], groups),
    ]
    found = {groups[first]: sorted(groups.subset(first)) for first, _ in links}
    return [
        SameField(
            tuple(positions[row] for row in rows),
            min(correlation for first, correlation in links if groups[first] == root),
        )
        for root, rows in sorted(found.items(), key=lambda group: group[1])
    ]


def _same_pictures(prints: Sequence[Fingerprint], groups: DisjointSet) -> Iterator[tuple[int, float]]:
    """Merge images that show the same without turn or crop; yield the first of each pair that links, and how well."""
    if not prints:
        return

    @lru_cache(maxsize=4_096)
    def detail(row: int) -> NDArray[np.float32]:
        return fine_detail(prints[row].thumbnail)

    for first, second in near_pairs(np.stack([one.bits for one in prints]), MAX_HAMMING):
        if not groups.connected(first, second):
            correlation = agreement(detail(first), detail(second))
            if correlation >= MIN_CORRELATION:
                groups.merge(first, second)
                yield first, correlation


def _same_places(images: Sequence[Landmarks], groups: DisjointSet) -> Iterator[tuple[int, float]]:
    """Merge images of which one can be laid onto the other; yield the first of each pair that links, and how well."""

    @lru_cache(maxsize=_VIEWS)
    def view(row: int) -> View:
        return View(images[row])

    pictures = [content_hash(one.gray) for one in images]
    for first, second, hits in alike(images):
        if not groups.connected(first, second):
            pair = pictures[first], pictures[second], tuple(hits[:HITS])
            found = _LIKENESS.get(pair, partial(likeness, view(first), view(second), hits))
            if found >= MIN_LIKENESS:
                groups.merge(first, second)
                yield first, found


def other_views(images: Sequence[Landmarks], known: Sequence[Landmarks]) -> dict[int, tuple[int, float]]:
    """Find the images that show the field of a known one, also mirrored, turned, resized, cropped or shifted.

    Returns:
        By the position of an image, that of the known image that agrees best, and how well, -1..1.
    """
    together = [*images, *known]

    @lru_cache(maxsize=_VIEWS)
    def view(row: int) -> View:
        return View(together[row])

    found: dict[int, tuple[int, float]] = {}
    for first, second, hits in alike(together):
        if first < len(images) <= second:
            agrees = likeness(view(first), view(second), hits)
            if agrees >= max(MIN_LIKENESS, found.get(first, (0, -1.0))[1]):
                found[first] = second - len(images), agrees
    return found


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


def agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return how far two details float32[S, S] agree at the best shift: as a whole and block by block, -1..1.

    It is the smaller of `aligned_correlation` and `block_agreement`, so that no frame that all images share decides.
    """
    a, b = _shifted(first, second)
    return min(cosine(a, b), block_agreement(a, b, np.ones(a.shape, dtype=np.bool_), _BLOCK_PX))


def aligned_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of two details float32[S, S] at the best shift of at most `MAX_SHIFT_PX`, -1..1."""
    return cosine(*_shifted(first, second))


def _shifted(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the parts of two details that show the same at the best shift."""
    spectrum = np.fft.rfft2(first) * np.conj(np.fft.rfft2(second))
    surface = np.roll(np.fft.irfft2(spectrum, s=first.shape), (MAX_SHIFT_PX, MAX_SHIFT_PX), (0, 1))
    window = surface[: 2 * MAX_SHIFT_PX + 1, : 2 * MAX_SHIFT_PX + 1]
    down, right = (int(index) - MAX_SHIFT_PX for index in np.unravel_index(window.argmax(), window.shape))
    return _overlap(first, down, right), _overlap(second, -down, -right)


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
    sketches = []
    for number, row in enumerate(firsts, start=1):
        sketches.append(sketch(read_image(paths[row])))
        if progress is not None:
            progress(number, len(firsts))
    names = hashed.column("path")
    return [tuple(names[firsts[i]] for i in group.positions) for group in same_fields(sketches)]
