"""The conditional discriminator: it sees what was given beside what was made of it (Isola et al. 2017, Eq. 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hemabridge.losses.logistic import logistic
from hemabridge.networks.initialization import initialize_normal
from hemabridge.networks.patch_discriminator import (
    PatchDiscriminator,
    PatchDiscriminatorConfig,
    bound_steepness,
)


@dataclass(frozen=True)
class Painted:
    """One conditional picture: what was given, what was made of it, and the truth; float[B, C, H, W] in [-1, 1]."""

    given: Tensor
    fake: Tensor
    real: Tensor


class ConditionalDiscriminator(PatchDiscriminator):
    """Discriminator the patches of `given` and a picture, of `in_channels` channels together, in [-1, 1].

    By default it has instance norm, as CycleGAN's discriminator. Pix2pix's has batch norm, which is the same at its
    batch of 1 but for two weights per channel.
    """

    def __init__(self, config: PatchDiscriminatorConfig, in_channels: int) -> None:
        super().__init__(config)
        first = nn.Conv2d(in_channels, config.channels, 4, stride=2, padding=1)
        initialize_normal(first)
        if config.norm == "spectral":
            bound_steepness(first)
        self.layers[0] = first

    def domain_auc(self, painted: Painted) -> Tensor:
        """Return the discriminator's own loss, half for the truth and half for the fake, which gets no gradient."""
        real = self(torch.cat((painted.given, painted.real), dim=1))
        fake = self(torch.cat((painted.given, painted.fake.detach()), dim=1))
        return 0.5 * (logistic(real, real=True) + logistic(fake, real=False))

    def fooled(self, painted: Painted) -> Tensor:
        """Return the generator's loss: how little the fake passes for true."""
        return logistic(self(torch.cat((painted.given, painted.fake), dim=1)), real=True)
