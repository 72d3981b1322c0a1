"""One model for many hospitals, from images of the target alone.

The target's images are photographed again by random hospitals (`hemabridge.data.simulate`), and the model learns to
undo that: domain randomization (Tobin et al. 2017, doi:10.1109/IROS.2017.8202133) for stain, with exact pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemabridge.data.simulate import measured_reference, photograph, random_hospital
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.lab import rgb_to_lab
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.appearance_descriptor import descriptors_of
from hemabridge.translators.batches import to_network
from hemabridge.translators.objective_config import TargetOnlyConfig
from hemabridge.translators.target_only_net import SiteRestainer

HELD_OUT_EVERY = 10
UNCHANGED_EVERY = 16
REFERENCE_IMAGES = 100


@dataclass(frozen=True, eq=False)
class Restyled:
    """Target images as random hospitals show them.

    Attributes:
        images: uint8[K, M, H, W, 3], those of K hospitals.
        originals: which target image each is, int64[K, M].
    """

    images: UInt8Images
    originals: NDArray[np.int64]


@dataclass(frozen=True)
class Undone:
    """Pixels of one step, float[B, 3, P, 1] in [-1, 1]: re-stained, and as the target shows them."""

    restained: Tensor
    truth: Tensor


class TargetOnly:
    """One net and no discriminator; the batch is ignored, since all images come from what `measure_sites` was given."""

    averaged = ("to_target",)

    def __init__(self, config: TargetOnlyConfig) -> None:
        self.config = config
        self.to_target = SiteRestainer(config)
        self.nets = {"to_target": self.to_target}
        self.phases = (Phase("undo", ("to_target",), self.losses),)
        self._pool: _Pool | None = None

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Photograph the target again; of the source only the descriptor is kept, and nothing is learned from it."""
        self.to_target.learn_target(target)
        restyled = restyle(target, self.config)
        descriptors = torch.stack([descriptors_of(to_network(images)) for images in restyled.images])
        held_out = np.arange(len(descriptors)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        self.to_target.learn_known(descriptors[~held_out].mean(dim=1), descriptors[held_out].mean(dim=1))
        self._pool = _Pool.of(restyled, descriptors, target, ~held_out)
        if self.config.site == "source":
            self.to_target.settle(source)

    def forward(self, batch: Batch) -> Undone:
        """Re-stain random pixels of random hospitals, by descriptors pooled over one to all images of each.

        Raises:
            ModelError: `measure_sites` was not called.
        """
        if self._pool is None:
            raise ModelError("expected measure_sites before training, which photographs the target again; call it")
        device = batch["target"].device
        colors, truth, descriptors = (
            tensor.to(device) for tensor in self._pool.draw(self.config.step_hospitals, self.config.pixels)
        )
        return Undone(self.to_target.recolor(colors, descriptors), truth)

    def losses(self, undone: Undone) -> Terms:
        """Come near to the target's own colors."""
        return {"color_target": visible_difference(undone.restained, undone.truth)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the images are made again from the same seed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


def restyle(target: UInt8Images, config: TargetOnlyConfig) -> Restyled:
    """Photograph the target's images, uint8[N, H, W, 3], as `config.hospitals` random hospitals would.

    Every sixteenth shows them unchanged, so that the target's own descriptor is known too.
    """
    rng = np.random.default_rng(config.seed)
    few = target[:: -(-len(target) // REFERENCE_IMAGES)]
    reference = measured_reference(list(few))
    originals = rng.integers(len(target), size=(config.hospitals, config.hospital_images))
    images = np.empty((*originals.shape, *target.shape[1:]), np.uint8)
    for number, chosen in enumerate(originals):
        hospital = random_hospital(rng, config.strength)
        unchanged = number % UNCHANGED_EVERY == 0
        images[number] = target[chosen] if unchanged else photograph(target[chosen], hospital, reference=reference)
    return Restyled(images, originals)


def visible_difference(images: Tensor, truth: Tensor) -> Tensor:
    """Return the mean color difference of float[B, 3, H, W] in [-1, 1], about 0.1 where it is just visible: a scalar.

    sqrt(dL^2 + (da^2 + db^2) / S_C^2 + 0.1) / 10 in CIE Lab with S_C = 1 + 0.045 C of the truth: the chroma weight of
    CIE 116:1995, which keeps strong colors from ruling; its hue term is left out, and 0.1 keeps the gradient finite.
    """
    wanted = rgb_to_lab(truth)
    steps = (rgb_to_lab(images) - wanted).square()
    weight = 1.0 + 0.045 * wanted[:, 1:].square().sum(dim=1).sqrt()
    return (steps[:, 0] + steps[:, 1:].sum(dim=1) / weight.square() + 0.1).sqrt().mean() / 10.0


@dataclass(frozen=True, eq=False)
class _Pool:
    """Pixels uint8[K, M * S, 3], true colors uint8[N * S, 3] and descriptors float[K, M, D] to draw from."""

    colors: Tensor
    truth: Tensor
    originals: Tensor
    descriptors: Tensor

    @classmethod
    def of(cls, restyled: Restyled, descriptors: Tensor, target: UInt8Images, kept: NDArray[np.bool_]) -> "_Pool":
        images = np.ascontiguousarray(restyled.images[kept])
        colors = torch.from_numpy(images).reshape(len(images), -1, 3)
        truth = torch.from_numpy(np.array(target)).reshape(len(target), -1, 3)
        return cls(colors, truth, torch.from_numpy(restyled.originals[kept]), descriptors[torch.from_numpy(kept)])

    def draw(self, hospitals: int, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw colors and truth, float[B, 3, P, 1], and descriptors, float[B, D], by torch's generator."""
        count, images = self.originals.shape
        size = self.truth.shape[1]
        chosen = torch.randint(count, (hospitals, 1))
        places = torch.randint(images * size, (hospitals, pixels))
        truth = self.truth[self.originals[chosen, places // size], places % size]
        # Now and then a single image, now and then all: a model for one image and for a site.
        pooled = (torch.rand(hospitals, images) < torch.rand(hospitals, 1)).float()
        pooled[torch.arange(hospitals), torch.randint(images, (hospitals,))] = 1.0
        descriptors = (self.descriptors[chosen[:, 0]] * pooled.unsqueeze(2)).sum(dim=1) / pooled.sum(
            dim=1, keepdim=True
        )
        return _scaled(self.colors[chosen, places]), _scaled(truth), descriptors


def _scaled(levels: Tensor) -> Tensor:
    return (levels.float() / 127.5 - 1.0).transpose(1, 2).unsqueeze(3)
