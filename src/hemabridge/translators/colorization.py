"""Colorization (Isola et al. 2017, doi:10.1109/CVPR.2017.632): color learned from target images alone.

The paper that hemabridge implements uses a "ColorizationGAN" and does not describe it. Two interpretations are here:
pix2pix from luminance to color, as in the CycleGAN code that the group used, and the two-step model of their later
paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.losses.formulas import logistic
from hemabridge.networks.config import PatchDiscriminatorConfig
from hemabridge.networks.discriminators import PatchDiscriminator, bound_steepness
from hemabridge.networks.lab import rgb_to_lab
from hemabridge.networks.layers import initialize_normal
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.translators.colorization_luminance import jittered
from hemabridge.translators.colorization_nets import AB_RANGE, Colorizer, GrayColorizer
from hemabridge.translators.objective_config import ColorizationConfig, GrayThenColorConfig


@dataclass(frozen=True)
class Painted:
    """The input of a conditional model, its output and the truth; float[B, C, H, W] in [-1, 1]."""

    given: Tensor
    fake: Tensor
    real: Tensor


class ConditionalDiscriminator(PatchDiscriminator):
    """Scores patches of the input and a picture, with `in_channels` channels together, in [-1, 1].

    By default it has instance norm, as CycleGAN's discriminator. That of pix2pix has batch norm, which at a batch size
    of 1 differs only by two weights per channel.
    """

    def __init__(self, config: PatchDiscriminatorConfig, in_channels: int) -> None:
        super().__init__(config)
        first = nn.Conv2d(in_channels, config.channels, 4, stride=2, padding=1)
        initialize_normal(first)
        if config.norm == "spectral":
            bound_steepness(first)
        self.layers[0] = first

    def own_loss(self, painted: Painted) -> Tensor:
        """Return the discriminator's loss, half for the truth and half for the output, which gets no gradient."""
        real = self(torch.cat((painted.given, painted.real), dim=1))
        fake = self(torch.cat((painted.given, painted.fake.detach()), dim=1))
        return 0.5 * (logistic(real, real=True) + logistic(fake, real=False))

    def fooled(self, painted: Painted) -> Tensor:
        """Return the generator's adversarial loss."""
        return logistic(self(torch.cat((painted.given, painted.fake), dim=1)), real=True)


class Colorization:
    """A generator and a conditional discriminator; of the batch only `target` is used, float[B, 3, H, W] in [-1, 1].

    Isola et al. 2017, Eq. 4: cross-entropy for both, plus L1. The discriminator gets the luminance beside the color and
    is updated first, as in the reference code. Unlike there, the luminance for the generator is made brighter or darker
    at random, because the matched luminance of another site differs slightly from the target's.
    """

    averaged = ("to_target",)

    def __init__(self, config: ColorizationConfig) -> None:
        self.config = config
        self.to_target = Colorizer(config)
        self.discriminator_target = ConditionalDiscriminator(config.discriminator, 3 if config.output == "ab" else 4)
        self.nets = {"to_target": self.to_target, "discriminator_target": self.discriminator_target}
        self.phases = (
            Phase("discriminator", ("discriminator_target",), self.discriminator_losses),
            Phase("generator", ("to_target",), self.generator_losses),
        )

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Measure luminance and chroma of both sites, which the generator stores."""
        self.to_target.measure(source, target)

    def forward(self, batch: Batch) -> Painted:
        """Predict the color of the target images from their luminance, made brighter or darker."""
        target, net = batch["target"], self.to_target
        lab = rgb_to_lab(target)
        luminance, chroma = lab[:, :1], lab[:, 1:]
        hint = net.hint(chroma, net.target_chroma)
        if hint is not None:
            hint = _hint_jittered(hint, self.config.hint_jitter)
        fake = net.predict(jittered(luminance, self.config.jitter), hint)
        return Painted(luminance / 50.0 - 1.0, fake, chroma / AB_RANGE if self.config.output == "ab" else target)

    def discriminator_losses(self, painted: Painted) -> Terms:
        """Return the discriminator's loss on true and predicted colors."""
        return {"discriminator_target": self.discriminator_target.own_loss(painted)}

    def generator_losses(self, painted: Painted) -> Terms:
        """Return the adversarial loss, and the L1 distance to the true colors."""
        return {
            "adversarial_target": self.discriminator_target.fooled(painted),
            "l1_target": self.config.l1_weight * l1_loss(painted.fake, painted.real),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the measurements are in the generator's buffers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


@dataclass(frozen=True)
class Faded:
    """The two conditional pictures of one step of `GrayThenColor`."""

    gray: Painted
    color: Painted


class GrayThenColor:
    """Two pix2pix models in a row, each with its discriminator; of the batch only `target` is used.

    The first maps images with changed colors to the gray of the unchanged image. The second colors the output of the
    first, and sends no gradient to it.
    """

    averaged = ("to_target",)

    def __init__(self, config: GrayThenColorConfig) -> None:
        self.config = config
        self.to_target = GrayColorizer(config)
        self.discriminator_gray = ConditionalDiscriminator(config.discriminator, 4)
        self.discriminator_target = ConditionalDiscriminator(config.discriminator, 4)
        self.nets = {
            "to_target": self.to_target,
            "discriminator_gray": self.discriminator_gray,
            "discriminator_target": self.discriminator_target,
        }
        self.phases = (
            Phase("discriminators", ("discriminator_gray", "discriminator_target"), self.discriminator_losses),
            Phase("generators", ("to_target",), self.generator_losses),
        )

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Do nothing: the gray is learned, and no measurements are needed."""

    def forward(self, batch: Batch) -> Faded:
        """Change the colors of the target images, map them to gray, and color the gray."""
        target = batch["target"]
        changed = recolored(target, self.config.jitter)
        true_gray = rgb_to_lab(target)[:, :1] / 50.0 - 1.0
        gray = self.to_target.fade(changed)
        color = self.to_target.color(gray.detach())
        return Faded(Painted(changed, gray, true_gray), Painted(gray.detach(), color, target))

    def discriminator_losses(self, faded: Faded) -> Terms:
        """Return the losses of both discriminators, on true and generated grays and colors."""
        return {
            "discriminator_gray": self.discriminator_gray.own_loss(faded.gray),
            "discriminator_target": self.discriminator_target.own_loss(faded.color),
        }

    def generator_losses(self, faded: Faded) -> Terms:
        """Return the adversarial losses, and the L1 distances to the true gray and the true colors."""
        return {
            "adversarial_gray": self.discriminator_gray.fooled(faded.gray),
            "adversarial_target": self.discriminator_target.fooled(faded.color),
            "l1_gray": self.config.l1_weight * l1_loss(faded.gray.fake, faded.gray.real),
            "l1_target": self.config.l1_weight * l1_loss(faded.color.fake, faded.color.real),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: there is no state besides that of the networks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


def recolored(images: Tensor, strength: float) -> Tensor:
    """Change the colors of each image of float[B, 3, H, W] in [-1, 1], as another stain and lamp would.

    The light of each channel becomes white * light^gamma. The gamma stands for the amount of dye (Beer-Lambert), the
    white for the lamp. Logarithms of gammas are drawn from -strength..strength, those of whites from -strength..0, with
    torch's global generator. Half of each draw is common to all channels, since dyes and lamps act on all of them.
    """
    shape = (2, len(images), 3, 1, 1)
    own = torch.rand(shape, device=images.device)
    shared = torch.rand((2, len(images), 1, 1, 1), device=images.device)
    draws = (own + shared) / 2.0
    gamma, white = torch.exp((draws[0] * 2.0 - 1.0) * strength), torch.exp(-draws[1] * strength)
    light = ((images + 1.0) / 2.0).clamp(min=1e-3)
    return 2.0 * (white * light**gamma) - 1.0


def _hint_jittered(hint: Tensor, strength: float) -> Tensor:
    """Shift and scale each channel of each image's hint, since normalized chroma of another site differs slightly."""
    draws = (torch.rand(2, len(hint), 2, 1, 1, device=hint.device) * 2.0 - 1.0) * strength
    return draws[0].exp() * hint + draws[1]
