"""What the training loop needs to train a classifier: labeled batches, and the losses of its one phase.

The batches are a pure function of the seed and of the number of images seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import ClassifierNetwork
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.augmentation import dihedral, shift
from hemabridge.data.stain_augmentation import StainAugmentationConfig, stain_augmented
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.formulas import focal_loss
from hemabridge.training.objective import Batch, Phase, Terms


@dataclass(frozen=True, eq=False)
class LabeledBatches:
    """Augmented batches of `images` float32[B, 3, S, S] and `labels` int64[B], from any point of a training on.

    Attributes:
        images: uint8[N, S, S, 3] at the network's size.
        labels: int64[N], 0 .. classes - 1.
        balanced: whether each epoch of N images holds each class equally often.
        shift_px: largest random shift, in pixels; images are also turned and mirrored at random.
        stain_augmentation: if given, random changes of color, size and place are used instead.
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
        """Yield the batches that follow the first `images` images of a training, without end."""
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
    """Return int64[N] indices into int64[N] labels, in random order, in which class counts differ by at most 1.

    The indices of each class come from whole permutations of its members: no member is repeated before all others were
    taken.
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


class ClassifierObjective:
    """One phase that trains `body` and `head` on batches of `images` float[B, 3, S, S] and `labels` int64[B].

    While the training loop keeps the body frozen, the batch norm of the body uses its initial statistics and does not
    change them. With `frozen_batch_norm` this holds for the whole training.
    """

    def __init__(self, network: ClassifierNetwork, config: ClassifierConfig) -> None:
        self.network = network
        self.config = config
        self.nets: dict[str, nn.Module] = {"body": network.body, "head": network.head}
        self.phases = (Phase("classify", ("body", "head"), self._losses),)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits float[B, classes] and the labels."""
        learns = any(parameter.requires_grad for parameter in self.network.body.parameters())
        self.network.body.train(learns)
        if self.config.frozen_batch_norm:
            for module in self.network.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self.network(batch["images"]), batch["labels"]

    def _losses(self, labeled: tuple[Tensor, Tensor]) -> Terms:
        logits, labels = labeled
        if self.config.loss == "focal":
            return {"focal": focal_loss(logits, labels, self.config.focal_gamma)}
        return {"cross_entropy": cross_entropy(logits, labels)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return an empty dict: all state is in `nets`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing: all state is in `nets`."""
