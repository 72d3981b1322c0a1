"""CUT and FastCUT (Park, Efros, Zhang & Zhu 2020, doi:10.1007/978-3-030-58545-7_19): one generator, no way back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.adversarial import least_squares
from hemabridge.losses.contrastive import patch_nce
from hemabridge.networks.initialization import initialize_xavier
from hemabridge.networks.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from hemabridge.networks.patch_projection import PatchProjection, draw_places, feature_layers, features
from hemabridge.networks.resnet_generator import ResnetGenerator, ResnetGeneratorConfig
from hemabridge.training.objective import Batch, Phase, Terms

LayerName = Annotated[str, Field(pattern=r"^(pixels|down-1|down-2|block-[1-9][0-9]*)$")]


class ContrastiveConfig(BaseModel):
    """Networks and losses; the defaults are those of CUT in its reference implementation.

    FastCUT is `contrast_weight` 10, `identity` false and `flip_equivariance` true. A section `generator` or
    `discriminator` that is given replaces the default's as a whole, its `downsampling` and `upsampling` too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["contrastive"] = "contrastive"
    generator: ResnetGeneratorConfig = ResnetGeneratorConfig(downsampling="blurred", upsampling="bilinear")
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig(downsampling="blurred")
    layers: tuple[LayerName, ...] = Field(
        ("pixels", "down-1", "down-2", "block-1", "block-5"),
        min_length=1,
        description="layers of the generator at which an image and its translation are compared",
    )
    projection_width: int = Field(256, ge=1, description="numbers of a patch's vector")
    patches: int = Field(256, ge=2, description="places compared in each layer of each image")
    temperature: float = Field(0.07, gt=0, description="of the contrastive loss")
    contrast_weight: float = Field(1.0, gt=0, description="weight of the contrastive loss")
    identity: bool = Field(
        True,
        description="whether target images, which should stay as they are, are compared too, at half of the weight",
    )
    flip_equivariance: bool = Field(
        False, description="whether half of the steps translate the mirrored image and compare it with the image itself"
    )

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        blocks = [int(name.removeprefix("block-")) for name in self.layers if name.startswith("block-")]
        if max(blocks, default=0) > self.generator.blocks:
            raise ValueError(
                f"expected layers up to block-{self.generator.blocks}, the last block of the generator, "
                f"got block-{max(blocks)}"
            )
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"expected each layer once, got {', '.join(self.layers)}")
        return self


FASTCUT = ContrastiveConfig(contrast_weight=10.0, identity=False, flip_equivariance=True)

SMALL_CUT = ContrastiveConfig(
    generator=ResnetGeneratorConfig(channels=16, blocks=4, downsampling="blurred", upsampling="bilinear"),
    discriminator=PatchDiscriminatorConfig(channels=16, layers=1),
    layers=("pixels", "down-1", "down-2", "block-1", "block-4"),
    projection_width=64,
    patches=128,
    contrast_weight=5.0,
)
"""CUT at a size that one core can train in minutes; a short training needs a heavier contrast to keep structure."""


@dataclass(frozen=True)
class Contrasted:
    """All images of one step, float[B, 3, H, W] in [-1, 1]; `mirrored` says that `fake_target` shows mirror images."""

    source: Tensor
    target: Tensor
    fake_target: Tensor
    same_target: Tensor | None
    mirrored: bool


class Contrastive:
    """Generator, discriminator and projection; the batch holds `source` and `target`, float[B, 3, H, W] in [-1, 1].

    Park et al. 2020, Eq. 5 with least-squares adversarial terms. A place of the translated image must look, to the
    generator's own first half, more like the same place of the source image than like any other place of it. The
    discriminator steps first; generator and projection step together.
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
        """Need nothing of the sites before training."""

    def forward(self, batch: Batch) -> Contrasted:
        """Translate the source, mirrored or not, and the target if it is compared too."""
        source, target = batch["source"], batch["target"]
        mirrored = self.config.flip_equivariance and bool(torch.rand(()) < 0.5)
        shown = source.flip(3) if mirrored else source
        same = self.to_target(target.flip(3) if mirrored else target) if self.config.identity else None
        return Contrasted(source, target, self.to_target(shown), same, mirrored)

    def discriminator_losses(self, images: Contrasted) -> Terms:
        """Tell real from fake, both with half the weight."""
        real = least_squares(self.discriminator_target(images.target), real=True)
        fake = least_squares(self.discriminator_target(images.fake_target.detach()), real=False)
        return {"discriminator_target": 0.5 * (real + fake)}

    def generator_losses(self, images: Contrasted) -> Terms:
        """Fool the discriminator, and keep each place recognizable."""
        terms = {"adversarial_target": least_squares(self.discriminator_target(images.fake_target), real=True)}
        weight = self.config.contrast_weight * (1.0 if images.same_target is None else 0.5)
        terms["contrast_source"] = weight * self._contrast(images.source, images.fake_target, images.mirrored)
        if images.same_target is not None:
            terms["contrast_target"] = weight * self._contrast(images.target, images.same_target, images.mirrored)
        return terms

    def _contrast(self, originals: Tensor, translated: Tensor, mirrored: bool) -> Tensor:
        """Mean PatchNCE loss over the layers; the translation of a mirrored image is mirrored back layer by layer."""
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
        """Return nothing: no state outlives a step but the nets'."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""
