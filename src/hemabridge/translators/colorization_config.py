"""Configuration of the two readings of colorization."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.networks.kinds import by_kind
from hemabridge.networks.patch_discriminator import PatchDiscriminatorConfig
from hemabridge.networks.unet import UnetConfig
from hemabridge.networks.unet_resnet import ResnetUnetConfig

BackboneConfig: TypeAlias = Annotated[UnetConfig | ResnetUnetConfig, by_kind("unet", UnetConfig, ResnetUnetConfig)]
"""The configuration of a U-Net; `unet` where a section has no `kind`."""


class ColorizationConfig(BaseModel):
    """Luminance to color; the defaults are the reference's colorization model, with luminance matched and jittered.

    The paper that this follows names "ColorizationGAN" and says no more: not the network, not what it is trained on,
    not the number of epochs, not how luminance crosses from one hospital to the other. The defaults take the
    `colorization` model of the repository that its group used for CycleGAN (junyanz, 2020: `unet_256`, 256 px, batch
    1, 100 + 100 epochs). Matching and jitter are not in it; `match_luminance` false and `jitter` 0 leave them out.

    `output` "ab" keeps the luminance and predicts a and b alone: the default, because it cannot move a nucleus. "rgb"
    predicts all three channels from the gray picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["colorization"] = "colorization"
    output: Literal["ab", "rgb"] = "ab"
    backbone: BackboneConfig = UnetConfig()
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distance to the true color")
    match_luminance: bool = Field(True, description="whether the source's luminance gets the target's distribution")
    jitter: float = Field(
        0.1, ge=0, le=1, description="brightness in training: gain and gamma, each between e^-jitter and e^jitter"
    )
    hint_px: int | None = Field(
        None,
        ge=2,
        description="side of the squares over which the source's own chroma, in standard deviations of its site, is "
        "averaged to hint at the color; none by default: luminance alone",
    )
    hint_jitter: float = Field(0.3, ge=0, le=1, description="in training: shift and log gain of the hint, at most")


class GrayThenColorConfig(BaseModel):
    """Color to an adaptive gray, and that to color (Barrera et al. 2023, doi:10.1016/j.cmpb.2023.107629).

    Only the abstract of the paper was read. It gives two pix2pix models, U-Nets with ResNet, and training on images of
    the reference center alone; how the first is trained to fade colors that it never sees, it does not say. Here:
    target images whose colors are changed at random, to the gray of the unchanged image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gray-then-color"] = "gray-then-color"
    fading: BackboneConfig = ResnetUnetConfig()
    coloring: BackboneConfig = ResnetUnetConfig()
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distances to the true gray and color")
    jitter: float = Field(
        0.5, ge=0, le=1, description="changes of color in training: gamma of each channel's light, and of its white"
    )


_SMALL_DISCRIMINATOR = PatchDiscriminatorConfig(channels=16, layers=2)
_SMALL_UNET = ResnetUnetConfig(channels=16, blocks=(1, 1, 1))

SMALL_COLORIZATION = ColorizationConfig(backbone=_SMALL_UNET, discriminator=_SMALL_DISCRIMINATOR)
"""For a minute and a half on one core at 64 px. Its U-Net sees the image itself last, and so draws no grid of pixels;
its batch norm is frozen afterwards: with instance norm, colors of another hospital's images left the gamut."""

SMALL_GRAY_THEN_COLOR = GrayThenColorConfig(
    fading=_SMALL_UNET, coloring=_SMALL_UNET, discriminator=_SMALL_DISCRIMINATOR
)
"""For some three minutes on one core at 64 px."""
