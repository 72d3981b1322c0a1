"""A three-dimensional look-up table that adapts to the image (Zeng et al. 2020, doi:10.1109/TPAMI.2020.3026740)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, leaky_relu, relu

from hemabridge.networks.color_generator import ColorGenerator, shift_colors, thumbnail
from hemabridge.networks.config import ColorLutConfig

THUMBNAIL_PX = 32


class ColorLut(ColorGenerator):
    """One color table per image: a mix of learned tables with weights read off a thumbnail, applied trilinearly.

    It can: map any color to any other, each region of the color cube for itself; mix differently from image to image.
    It cannot: move, blur or sharpen anything; tell apart two things of one color in one image; follow light that
    varies across the image. Points that no training pixel came near move with their neighbors only through the
    penalty: without it, contours appear where colors flow smoothly.

    As in the paper the mix starts as the identity. The tables hold shifts, so that a mixed table stays within [-1, 1].
    """

    def __init__(self, config: ColorLutConfig) -> None:
        super().__init__()
        self.config = config
        self.shifts = nn.Parameter(torch.zeros(config.tables, 3, *[config.points] * 3))
        self.mixer = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.mix = nn.Linear(8, config.tables)
        nn.init.ones_(self.mix.bias)  # as in the paper: every image begins with the sum of all tables

    def summarize(self, images: Tensor) -> Tensor:
        """Mix each image's table: float[B, 3, P, P, P] in [-1, 1], indexed by channel, then blue, green and red."""
        x = thumbnail(images, THUMBNAIL_PX)
        for layer in self.mixer:
            x = leaky_relu(layer(x), 0.2)
        weights = self.mix(x.mean(dim=(2, 3)))
        return shift_colors(self.identity(), torch.einsum("bt,tcxyz->bcxyz", weights, self.shifts))

    def identity(self) -> Tensor:
        """Return the table that changes nothing, float[3, P, P, P]."""
        levels = torch.linspace(-1, 1, self.config.points, device=self.shifts.device)
        blue, green, red = torch.meshgrid(levels, levels, levels, indexing="ij")
        return torch.stack([red, green, blue])

    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Look each pixel up, with trilinear interpolation between the eight points around it."""
        places = images.permute(0, 2, 3, 1).unsqueeze(1)
        # Only the difference to the identity is looked up: the rounding of its own interpolation then cancels.
        shift = grid_sample(summary - self.identity(), places, padding_mode="border", align_corners=True)
        return (images + shift.squeeze(2)).clamp(-1.0, 1.0)

    def penalty(self, summary: Tensor) -> Tensor:
        """Return smoothness and monotonicity of the mixed tables, the regularization of Zeng et al. 2020, as means.

        Smoothness is taken of the difference to the identity. The paper wants every output to rise with every input,
        which no stain transfer keeps: where dyes overlap, less blue may mean more red. Here each channel rises with
        itself.
        """
        shifts = summary - self.identity()
        rough = torch.stack([shifts.diff(dim=axis).square().mean() for axis in (2, 3, 4)])
        falls = torch.stack([relu(-summary[:, c].diff(dim=3 - c)).mean() for c in range(3)])
        return self.config.smoothness * rough.sum() + self.config.monotonicity * falls.sum()
