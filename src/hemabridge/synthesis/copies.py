"""Detection of copies: the distance of synthetic cells to training cells, compared with that of real held-out cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from hemabridge.data.audit.duplicates import (
    MAX_HAMMING,
    MIN_CORRELATION,
    Fingerprint,
    aligned_correlation,
    fine_detail,
    fingerprint,
    other_views,
    sketch,
)
from hemabridge.data.audit.landmarks import Landmarks
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.synthesis.likeness import share_of
from hemabridge.synthesis.pair_results import Copy, CopyCheck
from hemabridge.synthesis.shape_distributions import spread

Floats = NDArray[np.float64]

CANDIDATES = 5
"""Number of nearest training cells, by features and by hash each, whose fine detail is compared."""

SHOWN = 6
"""Number of synthetic cells that are listed beside their training cell: copies first, then the nearest ones."""


@dataclass(frozen=True, eq=False)
class TrainingCells:
    """Features and fingerprints of the training cells.

    Attributes:
        ids: of the N cells.
        features: float[N, D], in which cells are compared.
        prints: fingerprints of the cells, followed by those of their mirror images, which training shows as often: 2 N.
        landmarks: of the N cells, by which other views of them are found.
    """

    ids: tuple[str, ...]
    features: NDArray[np.floating]
    prints: tuple[Fingerprint, ...]
    landmarks: tuple[Landmarks, ...]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training cells of N cells.

    Attributes:
        features: distance to the nearest training cell in features, float64[N].
        bits: Hamming distance to the nearest training cell by hash, int64[N].
        place: index of the training cell with the best correlation of fine detail, among the nearest ones, int64[N].
        place_bits: Hamming distance to that cell, int64[N].
        correlation: of fine detail with that cell, float64[N].
        is_view: whether a cell is another view of that training cell (mirrored, turned, resized, cropped), bool[N];
            `place` and `correlation` are then those of the view.
    """

    features: Floats
    bits: NDArray[np.int64]
    place: NDArray[np.int64]
    place_bits: NDArray[np.int64]
    correlation: Floats
    is_view: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.features)


def training_cells(ids: Sequence[str], images: UInt8Images, features: NDArray[np.floating]) -> TrainingCells:
    """Describe training cells uint8[N, S, S, 3] with features [N, D]."""
    own = [sketch(image) for image in images]
    mirrored = [fingerprint(np.ascontiguousarray(image[:, ::-1])) for image in images]
    prints = (*(one.fingerprint for one in own), *mirrored)
    return TrainingCells(tuple(ids), features, prints, tuple(one.landmarks for one in own))


def nearest_training(images: UInt8Images, features: NDArray[np.floating], training: TrainingCells) -> Nearest:
    """Find the nearest training cells of cells uint8[N, S, S, 3] with features [N, D]."""
    own = [sketch(image) for image in images]
    prints = [one.fingerprint for one in own]
    far = cdist(features.astype(np.float64), training.features.astype(np.float64))
    bits = _bits(prints, training.prints)
    rows = [_best_match(prints[row], far[row], bits[row], training) for row in range(len(prints))]
    views = other_views([one.landmarks for one in own], training.landmarks)
    for row, (seen, agrees) in views.items():
        if not _shows_same(rows[row][1], rows[row][2]):
            rows[row] = seen, int(bits[row, seen]), agrees
    place, place_bits, correlation = (np.array(column) for column in zip(*rows, strict=True))
    return Nearest(
        features=far.min(axis=1),
        bits=bits.min(axis=1),
        place=place.astype(np.int64),
        place_bits=place_bits.astype(np.int64),
        correlation=correlation.astype(np.float64),
        is_view=np.isin(np.arange(len(images)), list(views)),
    )


def check_copies(
    ids: Sequence[str], synthetic: Nearest, real: Nearest, unscored: Nearest, training: TrainingCells
) -> CopyCheck:
    """Find the copies among synthetic cells, and among real ones by the same rule.

    A copy shows the same field as a training cell, in any view, by the rules of `hemabridge audit`, or it is nearer to
    training cells, in features and by hash, than every unscored real cell.

    Args:
        ids: of the sources of the synthetic cells.
        synthetic: the nearest training cells of the synthetic cells.
        real: the same for real held-out cells of the intended class.
        unscored: the same for other real held-out cells of that class, which set the limits.
        training: the training cells.
    """
    limits = float(unscored.features.min()), int(unscored.bits.min())
    marked, same = copies_among(synthetic, *limits), _same_field(synthetic)

    def described(row: int) -> Copy:
        return Copy(
            id=ids[row],
            training_id=training.ids[synthetic.place[row]],
            bits=int(synthetic.place_bits[row]),
            correlation=float(synthetic.correlation[row]),
            feature_distance=float(synthetic.features[row]),
            rule="same field" if same[row] else "nearer than real" if marked[row] else None,
        )

    order = [int(row) for row in np.lexsort((-synthetic.correlation, ~marked))]
    return CopyCheck(
        training=len(training.ids),
        synthetic=share_of(marked),
        real=share_of(copies_among(real, *limits)),
        copies=tuple(described(row) for row in order if marked[row]),
        nearest=tuple(described(row) for row in order[:SHOWN]),
        features={"synthetic": spread(synthetic.features), "real": spread(real.features)},
        bits={"synthetic": spread(synthetic.bits), "real": spread(real.bits)},
        limit_features=limits[0],
        limit_bits=limits[1],
    )


def copies_among(cells: Nearest, limit_features: float, limit_bits: int) -> NDArray[np.bool_]:
    """Return which cells are copies, bool[N]; see `check_copies`."""
    nearer = (cells.features < limit_features) & (cells.bits < limit_bits)
    return np.asarray(_same_field(cells) | nearer)


def _same_field(cells: Nearest) -> NDArray[np.bool_]:
    return np.asarray(_shows_same(cells.place_bits, cells.correlation) | cells.is_view)


def _shows_same(bits: NDArray[np.int64] | int, correlation: Floats | float) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(bits) <= MAX_HAMMING) & (np.asarray(correlation) >= MIN_CORRELATION))


def _bits(one: Sequence[Fingerprint], other: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Return the Hamming distances of all pairs; for each training cell, the smaller one of the cell and its mirror."""
    signs = [np.stack([np.where(print_.bits, 1, -1) for print_ in prints]) for prints in (one, other)]
    different = (signs[0].shape[1] - signs[0] @ signs[1].T) // 2
    plain, mirrored = np.split(different, 2, axis=1)
    return np.asarray(np.minimum(plain, mirrored), np.int64)


def _best_match(
    print_: Fingerprint, far: Floats, bits: NDArray[np.int64], training: TrainingCells
) -> tuple[int, int, float]:
    """Return index, Hamming distance and correlation of the training cell with the most similar fine detail.

    Cells that show the same field by the rule of the audit have priority.
    """
    near = {*np.argsort(far)[:CANDIDATES].tolist(), *np.argsort(bits, kind="stable")[:CANDIDATES].tolist()}
    own, n = fine_detail(print_.thumbnail), len(training.ids)
    found = [
        (
            max(aligned_correlation(own, fine_detail(training.prints[i].thumbnail)) for i in (place, place + n)),
            place,
        )
        for place in sorted(near)
    ]
    same = [(c, place) for c, place in found if _shows_same(int(bits[place]), c)]
    correlation, place = max(same or found)
    return place, int(bits[place]), correlation
