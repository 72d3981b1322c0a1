"""CycleGAN (Zhu, Park, Isola & Efros 2017, doi:10.1109/ICCV.2017.244), between a source and a target site."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.adversarial import least_squares
from hemabridge.losses.differentiable_augmentation import AugmentationConfig, augment
from hemabridge.losses.sliced_wasserstein import sliced_wasserstein
from hemabridge.networks.color_generator import ColorGenerator
from hemabridge.networks.discriminators import DiscriminatorConfig, new_discriminator
from hemabridge.networks.generators import GeneratorConfig, new_generator
from hemabridge.networks.patch_discriminator import PatchDiscriminatorConfig
from hemabridge.networks.resnet_generator import ResnetGeneratorConfig
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.replay_pool import ReplayPool


class CycleGanConfig(BaseModel):
    """Networks and loss weights; the defaults are the reference's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cyclegan"] = "cyclegan"
    generator: GeneratorConfig = ResnetGeneratorConfig()
    discriminator: DiscriminatorConfig = PatchDiscriminatorConfig()
    adversarial_weight: float = Field(
        1.0, ge=0, description="weight of the discriminators' word; 0 trains without discriminators"
    )
    transport_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the sliced Wasserstein distance between the colors of re-stained and real images: "
        "steadier than discriminators, but blind to what wears a color",
    )
    cycle_weight: float = Field(10.0, ge=0, description="weight of the L1 distance after both translations")
    identity_weight: float = Field(
        0.5,
        ge=0,
        description="weight of the L1 distance of a translated target image to itself, as a part of cycle_weight",
    )
    penalty_weight: float = Field(
        1.0, ge=0, description="weight of the roughness of a color map; nothing without a generator that has one"
    )
    augmentation: AugmentationConfig | None = Field(
        None, description="how what the discriminators see is varied, for sites of few images; not at all if not given"
    )
    pool_size: int = Field(
        50, ge=0, description="earlier fakes kept per direction for the discriminators; 0 shows only new ones"
    )


@dataclass(frozen=True)
class Translated:
    """All images of one step, float[B, 3, H, W] in [-1, 1]."""

    source: Tensor
    target: Tensor
    fake_target: Tensor
    fake_source: Tensor
    cycled_source: Tensor
    cycled_target: Tensor


class CycleGan:
    """Two generators and two discriminators; the batch holds `source` and `target`, float[B, 3, H, W] in [-1, 1].

    The loss is that of Zhu et al. 2017, Eq. 3, with least-squares adversarial terms, plus the identity terms of their
    section 5.2. The generators step first; the discriminators then see the fakes from before that step, through the
    pool. A color translator is this with a generator of `hemabridge.networks.generators` that moves nothing; the
    distance of colors (`transport_weight`) may then join the discriminators or take their place.
    """

    averaged = ("to_target", "to_source")

    def __init__(self, config: CycleGanConfig) -> None:
        self.config = config
        self.to_target = new_generator(config.generator)
        self.to_source = new_generator(config.generator)
        self.discriminator_target = new_discriminator(config.discriminator)
        self.discriminator_source = new_discriminator(config.discriminator)
        self.nets = {"to_target": self.to_target, "to_source": self.to_source}
        self.phases: tuple[Phase, ...] = (Phase("generators", self.averaged, self.generator_losses),)
        if config.adversarial_weight > 0:
            self.nets |= {
                "discriminator_target": self.discriminator_target,
                "discriminator_source": self.discriminator_source,
            }
            self.phases += (
                Phase("discriminators", ("discriminator_target", "discriminator_source"), self.discriminator_losses),
            )
        self.pools = {"target": ReplayPool(config.pool_size), "source": ReplayPool(config.pool_size)}

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Need nothing of the sites before training."""

    def forward(self, batch: Batch) -> Translated:
        """Translate both images of the batch there and back."""
        source, target = batch["source"], batch["target"]
        fake_target, fake_source = self.to_target(source), self.to_source(target)
        return Translated(
            source, target, fake_target, fake_source, self.to_source(fake_target), self.to_target(fake_source)
        )

    def generator_losses(self, images: Translated) -> Terms:
        """Fool both discriminators, come back, and leave alone what is already there."""
        cycle = self.config.cycle_weight
        terms = self._likeness(images) | {
            "cycle_source": cycle * l1_loss(images.cycled_source, images.source),
            "cycle_target": cycle * l1_loss(images.cycled_target, images.target),
        }
        if self.config.identity_weight > 0:
            weight = cycle * self.config.identity_weight
            terms["identity_target"] = weight * l1_loss(self.to_target(images.target), images.target)
            terms["identity_source"] = weight * l1_loss(self.to_source(images.source), images.source)
        return terms | self._roughness(images)

    def _likeness(self, images: Translated) -> Terms:
        """How far fakes are from real images: to the discriminators, and in the distribution of their colors."""
        terms = {}
        if (weight := self.config.adversarial_weight) > 0:
            for site, discriminator, fake in (
                ("target", self.discriminator_target, images.fake_target),
                ("source", self.discriminator_source, images.fake_source),
            ):
                terms[f"adversarial_{site}"] = weight * least_squares(discriminator(self._shown(fake)), real=True)
        if (weight := self.config.transport_weight) > 0:
            for site, fake, real in (
                ("target", images.fake_target, images.target),
                ("source", images.fake_source, images.source),
            ):
                terms[f"transport_{site}"] = weight * sliced_wasserstein(_colors(fake), _colors(real))
        return terms

    def _roughness(self, images: Translated) -> Terms:
        """How rough the color maps are, of generators that have one."""
        terms = {}
        if (weight := self.config.penalty_weight) > 0:
            for net, seen in (("to_target", images.source), ("to_source", images.target)):
                generator = self.nets[net]
                if isinstance(generator, ColorGenerator):
                    terms[f"roughness_{net}"] = weight * generator.penalty(generator.summarize(seen))
        return terms

    def discriminator_losses(self, images: Translated) -> Terms:
        """Tell real from fake, each discriminator with half the weight."""
        fake_target = self.pools["target"].query(images.fake_target.detach())
        fake_source = self.pools["source"].query(images.fake_source.detach())
        return {
            "discriminator_target": self._judged(self.discriminator_target, images.target, fake_target),
            "discriminator_source": self._judged(self.discriminator_source, images.source, fake_source),
        }

    def _judged(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        real_loss = least_squares(discriminator(self._shown(real)), real=True)
        return 0.5 * (real_loss + least_squares(discriminator(self._shown(fake)), real=False))

    def _shown(self, images: Tensor) -> Tensor:
        return images if self.config.augmentation is None else augment(images, self.config.augmentation)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the two pools."""
        return {f"{site}/{key}": t for site, pool in self.pools.items() for key, t in pool.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the two pools."""
        for site, pool in self.pools.items():
            prefix = f"{site}/"
            pool.load_state_dict({k[len(prefix) :]: t for k, t in state.items() if k.startswith(prefix)})


def _colors(images: Tensor) -> Tensor:
    """Return the pixels of float[B, 3, H, W] as float[B * H * W, 3]."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)
