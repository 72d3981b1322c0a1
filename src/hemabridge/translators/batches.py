"""Unpaired batches of two sites, as a pure function of seed, number of images seen, and drawing probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemabridge.data.augmentation import random_crop_flip
from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.domain.site_profile import descriptors_of, kinds_of
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.objective import Batch
from hemabridge.translators.config import Balance

Chances = NDArray[np.float64]


def to_network(images: UInt8Images) -> Tensor:
    """Turn uint8[B, H, W, 3] into float32[B, 3, H, W] in [-1, 1]."""
    writable = np.require(images, requirements=("C", "W"))  # PyTorch warns about read-only memory
    return torch.from_numpy(writable).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def from_network(tensor: Tensor) -> UInt8Images:
    """Turn float[B, 3, H, W] in [-1, 1] into uint8[B, H, W, 3], rounded to nearest."""
    scaled = (tensor.detach().float().clamp(-1.0, 1.0) + 1.0) * 127.5
    images: UInt8Images = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return images


@dataclass(frozen=True, eq=False)
class UnpairedBatches:
    """Batches of `source` and `target`, float[B, 3, crop, crop] in [-1, 1], from a given image on.

    As in the reference code, an epoch is as long as the larger site and runs through a new permutation of
    0 .. length - 1; number i takes source image i mod |source| and a random target image. Each image is cropped at
    random and mirrored with probability 1/2, independently. With a `stride`, every stride-th row and column of the crop
    is taken, with a random offset; this keeps the colors unblurred for generators that use single pixels only.

    If a site has probabilities, float64[N] with sum 1, its images are drawn by these instead.
    """

    source: UInt8Images
    target: UInt8Images
    crop_px: int
    batch_size: int
    seed: int
    stride: int = 1
    source_chances: NDArray[np.float64] | None = None
    target_chances: NDArray[np.float64] | None = None

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches after `images` images, endlessly."""
        while True:
            rng = np.random.default_rng((self.seed, images))
            if self.source_chances is None:
                numbers = [self._number(place) for place in range(images, images + self.batch_size)]
                sources = np.asarray(numbers) % len(self.source)
            else:
                sources = rng.choice(len(self.source), self.batch_size, p=self.source_chances)
            if self.target_chances is None:
                targets = rng.integers(len(self.target), size=self.batch_size)
            else:
                targets = rng.choice(len(self.target), self.batch_size, p=self.target_chances)
            yield {
                "source": to_network(self._cut(self.source[sources], rng)),
                "target": to_network(self._cut(self.target[targets], rng)),
            }
            images += self.batch_size

    def _cut(self, images: UInt8Images, rng: np.random.Generator) -> UInt8Images:
        cut = random_crop_flip(images, self.crop_px, rng)
        if self.stride == 1:
            return cut
        top, left = rng.integers(self.stride, size=2)
        size = self.crop_px // self.stride * self.stride
        return cut[:, top : size : self.stride, left : size : self.stride]

    def _number(self, place: int) -> int:
        length = max(len(self.source), len(self.target))
        return int(self._permutation(place // length, length)[place % length])

    def _permutation(self, epoch: int, length: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch, length)).permutation(length)


def chances_of(balance: Balance, source: CellSet, target: CellSet) -> tuple[Chances | None, Chances | None]:
    """Return the probability of drawing each cell of both sites, float64[N] and float64[M]; None if all are equal.

    If the class priors of the sites differ, a discriminator can use this difference, and the translator learns to turn
    cells of one class into another. The classes of the target are therefore drawn equally often; its unlabeled cells
    are not drawn. The cells of the source, which has no labels, are clustered by appearance into as many groups as the
    target has classes.

    Raises:
        InputError: the target has no labels.
    """
    if balance == "none":
        return None, None
    labeled = [np.flatnonzero(target.labels == label) for label in np.unique(target.labels) if label != UNKNOWN]
    if not labeled:
        raise InputError("balance: expected cells of the target with classes, got none; name them, or do not balance")
    own = _evenly(labeled, len(target))
    if balance == "target":
        return None, own
    return _evenly(kinds_of(descriptors_of(list(source.images)), len(labeled)), len(source)), own


def _evenly(groups: Sequence[NDArray[np.intp]], count: int) -> Chances:
    """Return probabilities, float64[count], with the same sum for each group of rows."""
    chances = np.zeros(count)
    for rows in groups:
        chances[rows] = 1 / (len(groups) * len(rows))
    return chances
