"""A model for many source hospitals, trained on images of the target alone.

The target's images are restyled as random hospitals (`hemabridge.data.simulate`), and the model learns to undo that:
domain randomization of stain (Tobin et al. 2017, doi:10.1109/IROS.2017.8202133) with exact pairs.
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
from hemabridge.sampling import evenly_spaced
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
    """Target images, restyled as random hospitals.

    Attributes:
        images: uint8[K, M, H, W, 3], for K hospitals.
        originals: index of the target image of each, int64[K, M].
    """

    images: UInt8Images
    originals: NDArray[np.int64]


@dataclass(frozen=True)
class Undone:
    """Pixels of one step, float[B, 3, P, 1] in [-1, 1]: re-stained ones, and those of the target."""

    restained: Tensor
    truth: Tensor


class TargetOnly:
    """One network, no discriminator; the batch is ignored, since all images are made by `measure_sites`."""

    averaged = ("to_target",)

    def __init__(self, config: TargetOnlyConfig) -> None:
        self.config = config
        self.to_target = SiteRestainer(config)
        self.nets = {"to_target": self.to_target}
        self.phases = (Phase("undo", ("to_target",), self.losses),)
        self._pool: _Pool | None = None

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Restyle the target's images; of the source only the descriptor is stored, and not trained on."""
        self.to_target.learn_target(target)
        restyled = restyle(target, self.config)
        descriptors = torch.stack([descriptors_of(to_network(images)) for images in restyled.images])
        held_out = np.arange(len(descriptors)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        self.to_target.learn_known(descriptors[~held_out].mean(dim=1), descriptors[held_out].mean(dim=1))
        self._pool = _Pool.of(restyled, descriptors, target, ~held_out)
        if self.config.site == "source":
            self.to_target.settle(source)

    def forward(self, batch: Batch) -> Undone:
        """Re-stain random pixels of random hospitals, by descriptors averaged over one to all images of each.

        Raises:
            ModelError: `measure_sites` was not called.
        """
        if self._pool is None:
            raise ModelError("expected a call of measure_sites before training, which restyles the target; call it")
        device = batch["target"].device
        colors, truth, descriptors = (
            tensor.to(device) for tensor in self._pool.draw(self.config.step_hospitals, self.config.pixels)
        )
        return Undone(self.to_target.recolor(colors, descriptors), truth)

    def losses(self, undone: Undone) -> Terms:
        """Return the color difference to the target's pixels."""
        return {"color_target": visible_difference(undone.restained, undone.truth)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the images are made again from the same seed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


def restyle(target: UInt8Images, config: TargetOnlyConfig) -> Restyled:
    """Restyle the target's images, uint8[N, H, W, 3], as `config.hospitals` random hospitals.

    Every sixteenth hospital shows them unchanged, so that the target's descriptor is in the training too.
    """
    rng = np.random.default_rng(config.seed)
    few = target[evenly_spaced(len(target), REFERENCE_IMAGES)]
    reference = measured_reference(list(few))
    originals = rng.integers(len(target), size=(config.hospitals, config.hospital_images))
    images = np.empty((*originals.shape, *target.shape[1:]), np.uint8)
    for number, chosen in enumerate(originals):
        hospital = random_hospital(rng, config.strength)
        unchanged = number % UNCHANGED_EVERY == 0
        images[number] = target[chosen] if unchanged else photograph(target[chosen], hospital, reference=reference)
    return Restyled(images, originals)


def visible_difference(images: Tensor, truth: Tensor) -> Tensor:
    """Return the mean color difference of float[B, 3, H, W] in [-1, 1]: a scalar, about 0.1 if it is just visible.

    sqrt(dL^2 + (da^2 + db^2) / S_C^2 + 0.1) / 10 in CIE Lab with S_C = 1 + 0.045 C of the truth. S_C is the chroma
    weight of CIE 116:1995, so that strong colors do not dominate; its hue term is omitted. 0.1 keeps the gradient
    finite.
    """
    wanted = rgb_to_lab(truth)
    steps = (rgb_to_lab(images) - wanted).square()
    weight = 1.0 + 0.045 * wanted[:, 1:].square().sum(dim=1).sqrt()
    return (steps[:, 0] + steps[:, 1:].sum(dim=1) / weight.square() + 0.1).sqrt().mean() / 10.0


@dataclass(frozen=True, eq=False)
class _Pool:
    """The pixels uint8[K, M * S, 3], true colors uint8[N * S, 3] and descriptors float[K, M, D] that are drawn."""

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
        """Draw colors and truth, float[B, 3, P, 1], and descriptors, float[B, D], with torch's global generator."""
        count, images = self.originals.shape
        size = self.truth.shape[1]
        chosen = torch.randint(count, (hospitals, 1))
        places = torch.randint(images * size, (hospitals, pixels))
        truth = self.truth[self.originals[chosen, places // size], places % size]
        # Descriptors are averaged over one to all images, so that the model works for single images and for sites.
        pooled = (torch.rand(hospitals, images) < torch.rand(hospitals, 1)).float()
        pooled[torch.arange(hospitals), torch.randint(images, (hospitals,))] = 1.0
        descriptors = (self.descriptors[chosen[:, 0]] * pooled.unsqueeze(2)).sum(dim=1) / pooled.sum(
            dim=1, keepdim=True
        )
        return _scaled(self.colors[chosen, places]), _scaled(truth), descriptors


def _scaled(levels: Tensor) -> Tensor:
    return (levels.float() / 127.5 - 1.0).transpose(1, 2).unsqueeze(3)
