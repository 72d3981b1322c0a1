"""A bilateral grid of color maps (HDRNet: Gharbi et al. 2017, doi:10.1145/3072959.3073592)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, leaky_relu

from hemabridge.networks.color_generator import ColorGenerator, shift_colors, thumbnail
from hemabridge.networks.config import BilateralGridConfig

THUMBNAIL_PX = 32
HALVINGS = 3
CELLS = THUMBNAIL_PX // 2**HALVINGS
"""Cells of the grid along height and along width."""


class BilateralGrid(ColorGenerator):
    """Affine color maps in a grid over place and brightness, filled from a thumbnail and read at every pixel.

    It can: give each image, and each quarter of its height and width, a color map of its own, so it follows light and
    thickness that vary across the image; treat dark and bright pixels differently. It cannot: move, blur or sharpen
    anything; change colors from one pixel to the next faster than the grid's cells, unless their guide differs. Where
    neighboring cells learn to differ much, haloes appear around dark things; the penalty is on such differences.

    The guide is a learned gray value (Gharbi et al. 2017, section 3.3, here a small perceptron), and slicing is
    trilinear (Eq. 3). The maps give shifts: see `shift_colors`.
    """

    is_pointwise = False

    def __init__(self, config: BilateralGridConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3, 8, config.channels, config.channels)
        self.looks = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1, padding_mode="replicate") for a, b in pairwise(widths))
        self.whole = nn.Linear(config.channels, config.channels)
        self.fill = nn.Conv2d(config.channels, 12 * config.depth, 1)
        nn.init.zeros_(self.fill.weight)
        nn.init.zeros_(self.fill.bias)  # type: ignore[arg-type]
        self.guide = nn.Sequential(nn.Conv2d(3, 8, 1), nn.SiLU(), nn.Conv2d(8, 1, 1))

    def summarize(self, images: Tensor) -> Tensor:
        """Fill each image's grid: float[B, 12, depth, 4, 4], 3x4 matrices, from local and global features."""
        x = thumbnail(images, THUMBNAIL_PX)
        for layer in self.looks:
            x = leaky_relu(layer(x), 0.2)
        x = leaky_relu(x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None], 0.2)
        matrices: Tensor = self.fill(x)
        return matrices.reshape(len(images), 12, self.config.depth, CELLS, CELLS)

    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Read the grid at every pixel's place and guide, and apply the matrix found there."""
        maps = slice_grid(summary, self.guided(images))
        maps = maps.reshape(len(images), 3, 4, *images.shape[2:])
        shift = (maps[:, :, :3] * images.unsqueeze(1)).sum(dim=2) + maps[:, :, 3]
        return shift_colors(images, shift)

    def guided(self, images: Tensor) -> Tensor:
        """Return float[B, H, W] in [-1, 1] for float[B, 3, H, W]: the mean of the channels plus what was learned."""
        learned: Tensor = self.guide(images)
        return torch.tanh(images.mean(dim=1) + learned.squeeze(1))

    def penalty(self, summary: Tensor) -> Tensor:
        """Return the mean squared step between neighboring cells, summed over the grid's three axes."""
        steps = [summary.diff(dim=axis).square().mean() for axis in (2, 3, 4) if summary.shape[axis] > 1]
        return torch.stack(steps).sum()


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Read float[B, C, D, Gh, Gw] at each pixel's place and guide, trilinearly: float[B, C, H, W].

    Args:
        grid: its cells' centers lie at (i + 1/2) / n of each side; beyond the outermost centers it is constant.
        guide: float[B, H, W] in [-1, 1], the third coordinate.
    """
    _, height, width = guide.shape
    rows = (2 * torch.arange(height, device=guide.device, dtype=guide.dtype) + 1) / height - 1
    columns = (2 * torch.arange(width, device=guide.device, dtype=guide.dtype) + 1) / width - 1
    places = torch.stack([columns.expand_as(guide), rows[:, None].expand_as(guide), guide], dim=3).unsqueeze(1)
    return grid_sample(grid, places, padding_mode="border", align_corners=False).squeeze(2)
