"""Which images have blobs that look alike: the nearest descriptors, found without comparing all with all."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.audit.landmarks import Landmarks
from hemabridge.sampling import evenly_spaced, thinned

Floats = NDArray[np.float32]

MOST_PARTNERS = 3
"""So many other images are proposed for each image."""

_SAMPLE = 20_000
_DIMENSIONS = 48
_WHITENING = 0.35
_PER_CELL = 400
_PROBES = 6
_ROUNDS = 3
_BLOCK = 4096

Hit = tuple[int, int]
"""A blob of the first image of a pair and one of the second."""


def alike(images: Sequence[Landmarks]) -> Iterator[tuple[int, int, list[Hit]]]:
    """Yield pairs of images first < second with the blobs that they may share, the most alike first.

    Each descriptor meets those of `_PROBES` cells of a partition (inverted file; Jégou, Douze and Schmid 2011,
    doi:10.1109/TPAMI.2010.57). The time grows with the number of images times its square root at worst; the memory with
    the number of images.
    """
    owner = np.repeat(np.arange(len(images)), [len(one.blobs) for one in images])
    if not len(owner):
        return
    starts = np.searchsorted(owner, np.arange(len(images)))
    found = _whitened(np.concatenate([one.descriptors for one in images]))
    likeness, nearest = _nearest(found, owner)
    hits: dict[tuple[int, int], dict[Hit, float]] = {}
    for row, probe in np.argwhere(nearest >= 0):
        other = int(nearest[row, probe])
        one, two = sorted((int(row), other))
        pair = int(owner[one]), int(owner[two])
        hit = one - int(starts[pair[0]]), two - int(starts[pair[1]])
        hits.setdefault(pair, {})[hit] = float(likeness[row, probe])
    for pair in _most_voted(hits):
        yield *pair, sorted(hits[pair], key=lambda hit: -hits[pair][hit])


def _most_voted(hits: dict[tuple[int, int], dict[Hit, float]]) -> list[tuple[int, int]]:
    """Return the pairs among the best `MOST_PARTNERS` of either image, those that share most blobs first."""
    order = sorted(hits, key=lambda pair: (-_vote(hits[pair]), pair))
    taken: Counter[int] = Counter()
    chosen = []
    for pair in order:
        if min(taken[pair[0]], taken[pair[1]]) < MOST_PARTNERS:
            taken.update(pair)
            chosen.append(pair)
    return chosen


def _vote(hits: dict[Hit, float]) -> float:
    """Return the number of different blobs that found a partner, and below one the likeness of the best."""
    blobs = min(len({first for first, _ in hits}), len({second for _, second in hits}))
    return blobs + 0.5 * max(hits.values())


def _whitened(descriptors: NDArray[np.float16]) -> Floats:
    """Return unit vectors float32[N, <= 48] in which what all blobs have in common counts less."""
    sample = thinned(descriptors, _SAMPLE).astype(np.float64)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov((sample - mean).T)) if len(sample) > 1 else np.eye(len(mean)))
    kept = np.argsort(-values)[:_DIMENSIONS]
    axes = (vectors[:, kept] * np.maximum(values[kept], 1e-6) ** -_WHITENING).astype(np.float32)
    turned = np.empty((len(descriptors), len(kept)), np.float32)
    for start in range(0, len(descriptors), _BLOCK):
        block = (descriptors[start : start + _BLOCK].astype(np.float32) - mean.astype(np.float32)) @ axes
        turned[start : start + _BLOCK] = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-6)
    return turned


def _nearest(found: Floats, owner: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return of each row the most alike row of another image in each cell that it probes, -1 for none: two [N, P]."""
    cells = _centers(found)
    probes = _top(found, cells, min(_PROBES, len(cells)))
    likeness = np.full(probes.shape, -1, np.float32)
    nearest = np.full(probes.shape, -1, np.int64)
    by_cell = np.argsort(probes[:, 0], kind="stable")
    bounds = np.searchsorted(probes[by_cell, 0], np.arange(len(cells) + 1))
    order = np.argsort(probes.ravel(), kind="stable")
    seekers = np.searchsorted(probes.ravel()[order], np.arange(len(cells) + 1))
    for cell in range(len(cells)):
        members = by_cell[bounds[cell] : bounds[cell + 1]]
        asking = order[seekers[cell] : seekers[cell + 1]]
        for start in range(0, len(asking) if len(members) else 0, _BLOCK):
            rows, columns = np.divmod(asking[start : start + _BLOCK], probes.shape[1])
            close = found[rows] @ found[members].T
            close[owner[rows][:, None] == owner[members][None]] = -2
            best = close.argmax(axis=1)
            value = close[np.arange(len(rows)), best]
            likeness[rows, columns] = value
            nearest[rows, columns] = np.where(value > -1.5, members[best], -1)
    return likeness, nearest


def _centers(found: Floats) -> Floats:
    """Return the centers of a partition of unit vectors, by a few rounds of spherical k-means on a sample."""
    n = max(1, len(found) // _PER_CELL)
    sample = thinned(found, 50 * n)
    centers = sample[evenly_spaced(len(sample), n, ends=True)]
    for _ in range(_ROUNDS if n > 1 else 0):
        cell = _top(sample, centers, 1)[:, 0]
        sums = np.zeros_like(centers)
        np.add.at(sums, cell, sample)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(length > 0, sums / np.maximum(length, 1e-6), centers).astype(np.float32)
    return np.asarray(centers, np.float32)


def _top(found: Floats, centers: Floats, k: int) -> NDArray[np.int64]:
    """Return the `k` nearest centers of each row, the nearest first, int64[N, k]."""
    rows = np.empty((len(found), k), np.int64)
    for start in range(0, len(found), _BLOCK):
        close = found[start : start + _BLOCK] @ centers.T
        some = np.argpartition(-close, k - 1, axis=1)[:, :k] if k < len(centers) else np.argsort(-close, axis=1)
        order = np.argsort(-np.take_along_axis(close, some, axis=1), axis=1)
        rows[start : start + _BLOCK] = np.take_along_axis(some, order, axis=1)
    return rows
