"""CycleGAN (Zhu, Park, Isola & Efros 2017, doi:10.1109/ICCV.2017.244), between a source and a target site."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.formulas import least_squares, sliced_wasserstein
from hemabridge.networks.catalog import new_discriminator, new_generator
from hemabridge.networks.color_generators import ColorGenerator
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.differentiable_augmentation import augment
from hemabridge.translators.objective_config import CycleGanConfig


class ReplayPool:
    """A pool of earlier generated images for the discriminators (Shrivastava et al. 2017, doi:10.1109/CVPR.2017.241).

    It holds up to `size` images, float[3, H, W]; random choices come from torch's global generator.

    Until the pool is full each new image is stored and returned. Then, per image and with probability 1/2, a random
    stored image is returned and the new one takes its place; otherwise the new one is returned. Size 0 returns all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, fakes: Tensor) -> Tensor:
        """Return float[B, 3, H, W] for the discriminator, given the new float[B, 3, H, W] without gradient."""
        if self.size == 0:
            return fakes
        return torch.stack([self._exchange(fake) for fake in fakes.detach()])

    def _exchange(self, fake: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(fake.clone())
            return fake
        if torch.rand(()) < 0.5:
            return fake
        place = int(torch.randint(self.size, ()))
        old, self.images[place] = self.images[place], fake.clone()
        return old.to(fake.device)  # a restored pool is on the CPU

    def state_dict(self) -> dict[str, Tensor]:
        """Return the stored images as one tensor; empty if there are none."""
        return {"images": torch.stack(self.images)} if self.images else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.images = list(state["images"].clone()) if state else []


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
    section 5.2. The generators are updated first; the discriminators are then trained on images generated before that
    update, taken through the pool. A color translator has the same objective with a generator of
    `hemabridge.networks.catalog` that moves nothing. The distance of color distributions (`transport_weight`) may then
    be added to the adversarial terms, or replace them.
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
        """Do nothing: no measurements are needed."""

    def forward(self, batch: Batch) -> Translated:
        """Translate both images of the batch there and back."""
        source, target = batch["source"], batch["target"]
        fake_target, fake_source = self.to_target(source), self.to_source(target)
        return Translated(
            source, target, fake_target, fake_source, self.to_source(fake_target), self.to_target(fake_source)
        )

    def generator_losses(self, images: Translated) -> Terms:
        """Return the adversarial, cycle and identity losses of the generators, and the penalty of color maps."""
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
        """Return the distance of generated from real images: adversarial, and of the color distributions."""
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
        """Return the roughness of the color maps, for generators that have one."""
        terms = {}
        if (weight := self.config.penalty_weight) > 0:
            for net, seen in (("to_target", images.source), ("to_source", images.target)):
                generator = self.nets[net]
                if isinstance(generator, ColorGenerator):
                    terms[f"roughness_{net}"] = weight * generator.penalty(generator.summarize(seen))
        return terms

    def discriminator_losses(self, images: Translated) -> Terms:
        """Return the losses of both discriminators: real and fake images with half the weight each."""
        fake_target = self.pools["target"].query(images.fake_target.detach())
        fake_source = self.pools["source"].query(images.fake_source.detach())
        return {
            "discriminator_target": self._discriminator_loss(self.discriminator_target, images.target, fake_target),
            "discriminator_source": self._discriminator_loss(self.discriminator_source, images.source, fake_source),
        }

    def _discriminator_loss(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
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
