"""Distillation: a small model learns to reproduce the output of a large one (StainNet, Kang et al. 2021).

Kang, Luo, Feng, Zeng, Quan, Hu & Liu 2021, Frontiers in Medicine 8:746307, doi:10.3389/fmed.2021.746307.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import l1_loss

from hemabridge.data.augmentation import random_crop_flip
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.catalog import new_generator
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.batches import to_network
from hemabridge.translators.objective_config import DistillationConfig


@dataclass(frozen=True)
class Copied:
    """The outputs of student and teacher for the same images, float[B, 3, H, W] in [-1, 1]."""

    student: Tensor
    teacher: Tensor


class Distillation:
    """One generator, no discriminator; `target` is the teacher's output for `source`, float[B, 3, H, W] in [-1, 1].

    Kang et al. 2021, section 2.3: the loss is the L1 distance. The optimizer differs; it is that of the training loop.
    """

    averaged = ("to_target",)

    def __init__(self, config: DistillationConfig) -> None:
        self.config = config
        self.to_target = new_generator(config.generator)
        self.nets = {"to_target": self.to_target}
        self.phases = (Phase("student", ("to_target",), self.student_losses),)

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Raise an error, since a student cannot be trained on two unpaired sites.

        Raises:
            InputError: always; `hemabridge.translators.student.distill`, which has a teacher, does not call this.
        """
        raise InputError(
            "expected a teacher whose images the student copies, got two sites without pairs; "
            'write kind = "distillation" at the top of the recipe, with teacher and site'
        )

    def forward(self, batch: Batch) -> Copied:
        """Re-stain the source by the student."""
        return Copied(self.to_target(batch["source"]), batch["target"])

    def student_losses(self, images: Copied) -> Terms:
        """Return the L1 distance between student and teacher."""
        return {"l1_target": self.config.l1_weight * l1_loss(images.student, images.teacher)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: there is no state besides that of the network."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


@dataclass(frozen=True, eq=False)
class PairedBatches:
    """Batches of `source` and `target` of the same cells, cropped and mirrored alike, from a given image on.

    An epoch uses each pair once, in a new random order.

    Attributes:
        source: uint8[N, H, W, 3].
        target: the teacher's output for them, uint8[N, H, W, 3].
        crop_px: side of the crops.
        batch_size: pairs per step.
        seed: of order and crops.
    """

    source: UInt8Images
    target: UInt8Images
    crop_px: int
    batch_size: int
    seed: int

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches after `images` pairs, endlessly; float[B, 3, crop, crop] in [-1, 1]."""
        while True:
            chosen = [self._number(place) for place in range(images, images + self.batch_size)]
            yield {
                name: to_network(
                    random_crop_flip(stack[chosen], self.crop_px, np.random.default_rng((self.seed, images)))
                )
                for name, stack in (("source", self.source), ("target", self.target))
            }
            images += self.batch_size

    def _number(self, place: int) -> int:
        epoch, position = divmod(place, len(self.source))
        order = np.random.default_rng((self.seed, epoch, len(self.source))).permutation(len(self.source))
        return int(order[position])
