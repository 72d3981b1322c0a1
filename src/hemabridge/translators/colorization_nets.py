"""Complete networks for colorization: RGB of any size to RGB of the same size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.config import BackboneConfig, UnetConfig
from hemabridge.networks.lab import lab_to_rgb, outside_gamut, rgb_to_lab
from hemabridge.networks.unet import Unet, padded
from hemabridge.networks.unet_resnet import ResnetUnet
from hemabridge.translators.colorization_luminance import LEVELS, luminance_curve, sampled_lab, through_curve
from hemabridge.translators.objective_config import ColorizationConfig, GrayThenColorConfig

AB_RANGE = 110.0
"""Scale of a and b in networks; L is scaled as L / 50 - 1. Both as in the reference code."""


@dataclass(frozen=True)
class Colored:
    """Colored images.

    Attributes:
        images: sRGB float[B, 3, H, W], clipped to [-1, 1].
        luminance: the luminance from which color was predicted, L 0..100, float[B, 1, H, W].
        outside: whether the predicted color lies outside sRGB and was clipped, bool[B, H, W].
    """

    images: Tensor
    luminance: Tensor
    outside: Tensor

    @property
    def clipped_fraction(self) -> Tensor:
        """Share of each image's pixels that were clipped, float[B]."""
        return self.outside.float().mean(dim=(1, 2))


class Colorizer(nn.Module):
    """Predicts the color of source images from their luminance and an optional hint; float[B, 3, H, W] in [-1, 1].

    Buffers hold the measurements of both sites: the curve that matches the source's luminance to the target's, and mean
    and standard deviation of a and b at both. Images of any size are padded to the backbone's stride.
    """

    curve: Tensor
    source_chroma: Tensor
    target_chroma: Tensor

    def __init__(self, config: ColorizationConfig) -> None:
        super().__init__()
        self.config = config
        channels = 1 if config.hint_px is None else 3
        self.backbone = new_backbone(config.backbone, channels, 2 if config.output == "ab" else 3)
        self.register_buffer("curve", torch.linspace(0.0, 100.0, LEVELS))
        for site in ("source", "target"):
            self.register_buffer(f"{site}_chroma", torch.tensor([[0.0, 0.0], [1.0, 1.0]]))

    def measure(self, source: UInt8Images, target: UInt8Images) -> None:
        """Fill the buffers from images of both sites, uint8[N, H, W, 3]."""
        own, wanted = sampled_lab(source), sampled_lab(target)
        if self.config.match_luminance:
            self.curve.copy_(torch.from_numpy(luminance_curve(own[:, 0], wanted[:, 0])))
        for buffer, lab in ((self.source_chroma, own), (self.target_chroma, wanted)):
            spread = np.maximum(lab[:, 1:].std(axis=0), 1e-3)  # for a site without any color
            buffer.copy_(torch.from_numpy(np.stack((lab[:, 1:].mean(axis=0), spread))))

    def forward(self, images: Tensor) -> Tensor:
        """Re-stain source images."""
        return self.color(images).images

    def color(self, images: Tensor) -> Colored:
        """Re-stain source images, and report clipped pixels."""
        lab = rgb_to_lab(images)
        return self._colored(through_curve(lab[:, :1], self.curve), self.hint(lab[:, 1:], self.source_chroma))

    def recolor(self, images: Tensor) -> Colored:
        """Predict the color of target images from their luminance, which needs no matching."""
        lab = rgb_to_lab(images)
        return self._colored(lab[:, :1], self.hint(lab[:, 1:], self.target_chroma))

    def hint(self, chroma: Tensor, site: Tensor) -> Tensor | None:
        """Average a and b, float[B, 2, H, W], over squares, in standard deviations of a site; None if hints are off.

        Args:
            chroma: a and b of a whole image.
            site: mean and standard deviation of a and b, float[2, 2].
        """
        side = self.config.hint_px
        if side is None:
            return None
        height, width = chroma.shape[-2:]
        normalized = (chroma - site[0].view(1, 2, 1, 1)) / site[1].view(1, 2, 1, 1)
        squares = avg_pool2d(pad(normalized, (0, -width % side, 0, -height % side), mode="replicate"), side)
        smooth = interpolate(squares, scale_factor=float(side), mode="bilinear", align_corners=False)
        return smooth[:, :, :height, :width]

    def predict(self, luminance: Tensor, hint: Tensor | None) -> Tensor:
        """Run the backbone on L 0..100, float[B, 1, H, W].

        Returns:
            a and b divided by 110, float[B, 2, H, W], or sRGB float[B, 3, H, W]; both in [-1, 1].
        """
        gray = luminance / 50.0 - 1.0
        return _run(self.backbone, self.config.backbone, gray if hint is None else torch.cat((gray, hint), dim=1))

    def _colored(self, luminance: Tensor, hint: Tensor | None) -> Colored:
        out = self.predict(luminance, hint)
        rgb = out if self.config.output == "rgb" else lab_to_rgb(torch.cat((luminance, out * AB_RANGE), dim=1))
        return Colored(rgb.clamp(-1.0, 1.0), luminance, outside_gamut(rgb))


class GrayColorizer(nn.Module):
    """Maps images of any site to the target's gray, and colors that; float[B, 3, H, W] in [-1, 1], of any size."""

    def __init__(self, config: GrayThenColorConfig) -> None:
        super().__init__()
        self.config = config
        self.fading = new_backbone(config.fading, 3, 1)
        self.coloring = new_backbone(config.coloring, 1, 3)

    def fade(self, images: Tensor) -> Tensor:
        """Return the adaptive gray, L / 50 - 1 of the target, float[B, 1, H, W]."""
        return _run(self.fading, self.config.fading, images)

    def color(self, gray: Tensor) -> Tensor:
        """Color float[B, 1, H, W] in [-1, 1]."""
        return _run(self.coloring, self.config.coloring, gray)

    def forward(self, images: Tensor) -> Tensor:
        """Re-stain images of any site."""
        return self.color(self.fade(images))


def new_backbone(config: BackboneConfig, in_channels: int, out_channels: int) -> Unet | ResnetUnet:
    """Make the U-Net that a configuration describes."""
    if isinstance(config, UnetConfig):
        return Unet(config, in_channels, out_channels)
    return ResnetUnet(config, in_channels, out_channels)


def _run(backbone: nn.Module, config: BackboneConfig, images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    out: Tensor = backbone(padded(images, config.stride, config.least_px))
    return out[:, :, :height, :width]
