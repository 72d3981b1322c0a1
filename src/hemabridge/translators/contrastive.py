"""CUT and FastCUT (Park, Efros, Zhang & Zhu 2020, doi:10.1007/978-3-030-58545-7_19): one generator, no cycle."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.formulas import least_squares, patch_nce
from hemabridge.networks.discriminators import PatchDiscriminator
from hemabridge.networks.layers import initialize_xavier
from hemabridge.networks.patch_projection import PatchProjection, draw_places, feature_layers, features
from hemabridge.networks.resnet_generator import ResnetGenerator
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.objective_config import ContrastiveConfig


@dataclass(frozen=True)
class Contrasted:
    """All images of one step, float[B, 3, H, W] in [-1, 1]; if `mirrored`, `fake_target` shows mirror images."""

    source: Tensor
    target: Tensor
    fake_target: Tensor
    same_target: Tensor | None
    mirrored: bool


class Contrastive:
    """Generator, discriminator and projection; the batch holds `source` and `target`, float[B, 3, H, W] in [-1, 1].

    Park et al. 2020, Eq. 5 with least-squares adversarial terms. In the features of the generator's first half, a
    position of the translated image must be more similar to the same position of the source image than to its other
    positions. The discriminator is updated first, then generator and projection together.
    """

    averaged = ("to_target",)

    def __init__(self, config: ContrastiveConfig) -> None:
        self.config = config
        self.to_target = ResnetGenerator(config.generator)
        self.discriminator_target = PatchDiscriminator(config.discriminator)
        self.layers = feature_layers(self.to_target, config.layers)
        self.projection = PatchProjection(self.layers, config.projection_width)
        self.nets = {
            "to_target": self.to_target,
            "discriminator_target": self.discriminator_target,
            "projection": self.projection,
        }
        for net in self.nets.values():
            initialize_xavier(net)
        self.phases = (
            Phase("discriminator", ("discriminator_target",), self.discriminator_losses),
            Phase("generator", ("to_target", "projection"), self.generator_losses),
        )

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Do nothing: no measurements are needed."""

    def forward(self, batch: Batch) -> Contrasted:
        """Translate the source, mirrored or not, and the target if the identity term is used."""
        source, target = batch["source"], batch["target"]
        mirrored = self.config.flip_equivariance and bool(torch.rand(()) < 0.5)
        shown = source.flip(3) if mirrored else source
        same = self.to_target(target.flip(3) if mirrored else target) if self.config.identity else None
        return Contrasted(source, target, self.to_target(shown), same, mirrored)

    def discriminator_losses(self, images: Contrasted) -> Terms:
        """Return the discriminator's loss: real and fake images with half the weight each."""
        real = least_squares(self.discriminator_target(images.target), real=True)
        fake = least_squares(self.discriminator_target(images.fake_target.detach()), real=False)
        return {"discriminator_target": 0.5 * (real + fake)}

    def generator_losses(self, images: Contrasted) -> Terms:
        """Return the adversarial and the contrastive loss of the generator."""
        terms = {"adversarial_target": least_squares(self.discriminator_target(images.fake_target), real=True)}
        weight = self.config.contrast_weight * (1.0 if images.same_target is None else 0.5)
        terms["contrast_source"] = weight * self._contrast(images.source, images.fake_target, images.mirrored)
        if images.same_target is not None:
            terms["contrast_target"] = weight * self._contrast(images.target, images.same_target, images.mirrored)
        return terms

    def _contrast(self, originals: Tensor, translated: Tensor, mirrored: bool) -> Tensor:
        """Return the mean PatchNCE loss over the layers; features of mirrored images are mirrored back first."""
        with torch.no_grad():
            before = features(self.to_target, self.layers, originals)
            places = draw_places(before, self.config.patches)
            keys = self.projection(before, places)
        after = features(self.to_target, self.layers, translated)
        if mirrored:
            after = [feature.flip(3) for feature in after]
        queries = self.projection(after, places)
        losses = [patch_nce(q, k, self.config.temperature) for q, k in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: there is no state besides that of the networks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""
