"""Generators that change colors and move nothing: a perceptron, a look-up table and a bilateral grid."""

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, leaky_relu, relu

from hemabridge.networks.config import BilateralGridConfig, ColorLutConfig, PixelNetworkConfig

INNER = 0.95
"""Share of tanh's range that [-1, 1] is mapped to. At 1, black and white could not be changed."""


class ColorGenerator(nn.Module, ABC):
    """Recolors pixel by pixel, given a summary of the image: float[B, 3, H, W] in [-1, 1] to the same.

    The summary is computed from a thumbnail of fixed size, whatever the size of the image. Given the summary, a pixel's
    new color depends on its old color (and, in a bilateral grid, on its position). An edge cannot move; it can appear
    or vanish only if two colors become more or less similar. Every subclass starts as the identity.
    """

    is_pointwise = True
    """Whether a pixel's new color depends on its old one and the summary alone, not on its position."""

    @abstractmethod
    def summarize(self, images: Tensor) -> Tensor:
        """Summarize float[B, 3, H, W] in [-1, 1]: float[B, ...]."""

    @abstractmethod
    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Recolor float[B, 3, H, W] in [-1, 1], given the output of `summarize` for B images."""

    def penalty(self, summary: Tensor) -> Tensor:
        """Return the roughness of the color map that belongs to a summary: a scalar >= 0; 0 before training."""
        return summary.new_zeros(())

    def forward(self, images: Tensor) -> Tensor:
        """Translate float[B, 3, H, W] in [-1, 1], of any size."""
        return self.recolor(images, self.summarize(images))


def thumbnail(images: Tensor, side_px: int) -> Tensor:
    """Shrink float[B, 3, H, W] to float[B, 3, side_px, side_px] by means over areas."""
    return adaptive_avg_pool2d(images, side_px)


def shift_colors(colors: Tensor, shift: Tensor) -> Tensor:
    """Shift colors in [-1, 1] by any finite amount, with less effect near the ends of the range.

    y = tanh(atanh(a x) + s) / a with a = `INNER`, clipped to [-1, 1]. It is computed by the addition theorem of tanh,
    so that s = 0 returns x exactly.
    """
    t = torch.tanh(shift)
    moved = colors + t * (1 / INNER - INNER * colors.square()) / (1 + INNER * colors * t)
    return moved.clamp(-1.0, 1.0)


STATISTICS_PX = 16
"""Side of the thumbnail whose statistics condition a pixel network."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STATISTICS = 3 * (2 + len(QUANTILES))


class PixelNetwork(ColorGenerator):
    """Perceptron of 1x1 convolutions on RGB, added to its input, after StainNet (Kang et al. 2021).

    It can map any color to any other, smoothly; if conditioned, it can map the same color differently in a dark and in
    a pale image. It cannot move, blur or sharpen anything, treat two structures of one color in one image differently,
    or follow illumination that varies across the image.

    The statistics are mean, standard deviation and five quantiles of each channel of a thumbnail; they scale and shift
    the hidden units (FiLM, Perez et al. 2018, doi:10.1609/aaai.v32i1.11671). StainNet: doi:10.3389/fmed.2021.746307.
    """

    def __init__(self, config: PixelNetworkConfig) -> None:
        super().__init__()
        widths = [3, *[config.width] * config.layers]
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.last = _zeroed(nn.Conv2d(config.width, 3, 1))
        self.tuner: nn.Module | None = None
        if config.conditioned:
            outputs = nn.Linear(16, 2 * config.width * config.layers)
            self.tuner = nn.Sequential(nn.Linear(STATISTICS, 16), nn.SiLU(), _zeroed(outputs))

    def summarize(self, images: Tensor) -> Tensor:
        """Return means, standard deviations and quantiles of thumbnails, float[B, 21]; float[B, 0] if unconditioned."""
        if self.tuner is None:
            return images.new_zeros(len(images), 0)
        colors = thumbnail(images, STATISTICS_PX).flatten(2)
        # Like torch.quantile with nearest positions, but with one sort for all quantiles.
        ordered = colors.sort(dim=2).values
        places = [round(q * (colors.shape[2] - 1)) for q in QUANTILES]
        spread = colors.var(dim=2, correction=0).add(1e-8).sqrt()
        return torch.cat([colors.mean(dim=2), spread, ordered[:, :, places].flatten(1)], dim=1)

    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Apply the perceptron to each pixel."""
        tuning = None if self.tuner is None else self.tuner(summary).unflatten(1, (len(self.hidden), 2, -1, 1, 1))
        x = images
        for place, layer in enumerate(self.hidden):
            x = layer(x)
            if tuning is not None:
                x = x * (1 + tuning[:, place, 0]) + tuning[:, place, 1]
            x = nn.functional.silu(x)
        return shift_colors(images, self.last(x))


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


THUMBNAIL_PX = 32
"""Side of the thumbnail from which a look-up table or a bilateral grid is computed."""


class ColorLut(ColorGenerator):
    """Image-adaptive three-dimensional look-up table (Zeng et al. 2020, doi:10.1109/TPAMI.2020.3026740).

    Each image gets a weighted sum of learned tables, with weights predicted from a thumbnail; it is applied by
    trilinear interpolation. It can map each region of the color cube separately, and differently from image to image.
    It cannot move, blur or sharpen anything, treat two structures of one color in one image differently, or follow
    illumination that varies across the image. Table points far from all training pixels are moved only by the penalty;
    without it, contours appear in smooth color gradients.

    As in the paper the table starts as the identity. Tables hold shifts, so that their sum stays within [-1, 1].
    """

    def __init__(self, config: ColorLutConfig) -> None:
        super().__init__()
        self.config = config
        self.shifts = nn.Parameter(torch.zeros(config.tables, 3, *[config.points] * 3))
        self.mixer = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.mix = nn.Linear(8, config.tables)
        nn.init.ones_(self.mix.bias)  # as in the paper: every image begins with the sum of all tables

    def summarize(self, images: Tensor) -> Tensor:
        """Return each image's table: float[B, 3, P, P, P] in [-1, 1], indexed by channel, then blue, green and red."""
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
        """Look up each pixel's color, with trilinear interpolation between the eight points around it."""
        places = images.permute(0, 2, 3, 1).unsqueeze(1)
        # Only the difference to the identity is looked up, so that rounding in the interpolation does not add noise.
        shift = grid_sample(summary - self.identity(), places, padding_mode="border", align_corners=True)
        return (images + shift.squeeze(2)).clamp(-1.0, 1.0)

    def penalty(self, summary: Tensor) -> Tensor:
        """Return the smoothness and monotonicity terms of Zeng et al. 2020, as means over the tables.

        Smoothness is computed of the difference to the identity. The paper's term makes every output rise with every
        input, which a stain transfer does not fulfill: where dyes overlap, less blue may mean more red. Here each
        output channel is made to rise with the same input channel only.
        """
        shifts = summary - self.identity()
        rough = torch.stack([shifts.diff(dim=axis).square().mean() for axis in (2, 3, 4)])
        falls = torch.stack([relu(-summary[:, c].diff(dim=3 - c)).mean() for c in range(3)])
        return self.config.smoothness * rough.sum() + self.config.monotonicity * falls.sum()


HALVINGS = 3
CELLS = THUMBNAIL_PX // 2**HALVINGS
"""Cells of the grid along height and along width."""


class BilateralGrid(ColorGenerator):
    """Bilateral grid of affine color maps (HDRNet: Gharbi et al. 2017, doi:10.1145/3072959.3073592).

    The grid spans position and brightness; it is predicted from a thumbnail and read at every pixel. It can treat dark
    and bright pixels differently, and follow illumination and smear thickness that vary over a quarter of the image's
    height and width. It cannot move, blur or sharpen anything, or change colors faster across the image than from one
    grid cell to the next, unless the guide differs. Large differences between neighboring grid cells cause haloes
    around dark structures; the penalty is on these differences.

    The guide is a learned gray value (section 3.3 of the paper, here a small perceptron). Slicing is trilinear (Eq. 3).
    The maps give shifts: see `shift_colors`.
    """

    is_pointwise = False

    def __init__(self, config: BilateralGridConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3, 8, config.channels, config.channels)
        # Snapshots name the weights by this attribute, so its old name stays.
        self.looks = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1, padding_mode="replicate") for a, b in pairwise(widths))
        self.whole = nn.Linear(config.channels, config.channels)
        self.fill = nn.Conv2d(config.channels, 12 * config.depth, 1)
        nn.init.zeros_(self.fill.weight)
        nn.init.zeros_(self.fill.bias)  # type: ignore[arg-type]
        self.guide = nn.Sequential(nn.Conv2d(3, 8, 1), nn.SiLU(), nn.Conv2d(8, 1, 1))

    def summarize(self, images: Tensor) -> Tensor:
        """Return each image's grid of 3x4 matrices, from local and global features: float[B, 12, depth, 4, 4]."""
        x = thumbnail(images, THUMBNAIL_PX)
        for layer in self.looks:
            x = leaky_relu(layer(x), 0.2)
        x = leaky_relu(x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None], 0.2)
        matrices: Tensor = self.fill(x)
        return matrices.reshape(len(images), 12, self.config.depth, CELLS, CELLS)

    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Apply to each pixel the matrix that the grid holds at its position and guide value."""
        maps = slice_grid(summary, self.guided(images))
        maps = maps.reshape(len(images), 3, 4, *images.shape[2:])
        shift = (maps[:, :, :3] * images.unsqueeze(1)).sum(dim=2) + maps[:, :, 3]
        return shift_colors(images, shift)

    def guided(self, images: Tensor) -> Tensor:
        """Return the guide, float[B, H, W] in [-1, 1]: the mean of the channels plus a learned function of them."""
        learned: Tensor = self.guide(images)
        return torch.tanh(images.mean(dim=1) + learned.squeeze(1))

    def penalty(self, summary: Tensor) -> Tensor:
        """Return the mean squared step between neighboring cells, summed over the grid's three axes."""
        steps = [summary.diff(dim=axis).square().mean() for axis in (2, 3, 4) if summary.shape[axis] > 1]
        return torch.stack(steps).sum()


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Read a grid at each pixel's position and guide value by trilinear interpolation: float[B, C, H, W].

    Args:
        grid: float[B, C, D, Gh, Gw]; the centers of its cells lie at (i + 1/2) / n of each side; beyond the outermost
            centers it is constant.
        guide: float[B, H, W] in [-1, 1], the third coordinate.
    """
    _, height, width = guide.shape
    rows = (2 * torch.arange(height, device=guide.device, dtype=guide.dtype) + 1) / height - 1
    columns = (2 * torch.arange(width, device=guide.device, dtype=guide.dtype) + 1) / width - 1
    places = torch.stack([columns.expand_as(guide), rows[:, None].expand_as(guide), guide], dim=3).unsqueeze(1)
    return grid_sample(grid, places, padding_mode="border", align_corners=False).squeeze(2)
