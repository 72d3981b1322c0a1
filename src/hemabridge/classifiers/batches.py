"""Labeled batches, as a pure function of the seed and the place in the run."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.augmentation import dihedral, shift
from hemabridge.data.stain_augmentation import StainAugmentationConfig, stain_augmented
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.objective import Batch


@dataclass(frozen=True, eq=False)
class LabeledBatches:
    """Batches of `images` float32[B, 3, S, S] and `labels` int64[B], augmented, from a place in the run on.

    Attributes:
        images: uint8[N, S, S, 3] at the network's size.
        labels: int64[N], 0 .. classes - 1.
        balanced: whether each epoch of N images holds each class equally often.
        shift_px: augmentation moves an image by up to so many pixels, beside turning and mirroring it.
        stain_augmentation: if given, augmentation is random color, size and place instead.
        augment: whether images are augmented at all.
    """

    images: UInt8Images
    labels: NDArray[np.int64]
    preprocessing: Preprocessing
    batch_size: int
    balanced: bool
    shift_px: int
    seed: int
    stain_augmentation: StainAugmentationConfig | None = None
    augment: bool = True

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches after `images` images, without end."""
        while True:
            numbers = self._numbers(images)
            rng = np.random.default_rng((self.seed, images))
            augmented = self._augmented(self.images[numbers], rng)
            yield {
                "images": torch.from_numpy(np.ascontiguousarray(self.preprocessing.normalize(augmented))),
                "labels": torch.from_numpy(self.labels[numbers]),
            }
            images += self.batch_size

    def _augmented(self, images: UInt8Images, rng: np.random.Generator) -> UInt8Images:
        if self.stain_augmentation is not None:
            return stain_augmented(images, self.stain_augmentation, rng)
        if not self.augment:
            return images
        return dihedral(shift(images, self.shift_px, rng), rng)

    def _numbers(self, images: int) -> NDArray[np.int64]:
        places = np.arange(images, images + self.batch_size)
        epochs, within = np.divmod(places, len(self.labels))
        orders = {epoch: self._order(epoch) for epoch in np.unique(epochs).tolist()}
        return np.array([orders[epoch][place] for epoch, place in zip(epochs.tolist(), within, strict=True)])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, epoch, len(self.labels)))
        return balanced_order(self.labels, rng) if self.balanced else rng.permutation(len(self.labels))


def balanced_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64[N] places into int64[N] labels in random order, in which class counts differ by at most 1.

    Each class is a row of whole permutations of its members, cut to its share: no member is taken once more before
    all others were taken.
    """
    classes = rng.permutation(np.unique(labels))
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[: len(labels) % len(classes)] += 1
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = -(-int(share) // len(members))
        chosen.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:share])
    return rng.permutation(np.concatenate(chosen))
