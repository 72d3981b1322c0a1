"""A color network: each pixel through one small perceptron, which an image's statistics may tune."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from hemabridge.networks.color_generator import ColorGenerator, shift_colors, thumbnail
from hemabridge.networks.config import PixelNetworkConfig

THUMBNAIL_PX = 16
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STATISTICS = 3 * (2 + len(QUANTILES))


class PixelNetwork(ColorGenerator):
    """Perceptron of 1x1 convolutions on RGB, added to its input; StainNet's idea (Kang et al. 2021).

    It can: map any color to any other, smoothly; if conditioned, map the same color differently in a dark and in a
    pale image. It cannot: move, blur or sharpen anything; tell apart two things of one color in one image; follow
    light that varies across the image.

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
        """Measure the thumbnails: float[B, 21] of means, standard deviations and quantiles; float[B, 0] if not used."""
        if self.tuner is None:
            return images.new_zeros(len(images), 0)
        colors = thumbnail(images, THUMBNAIL_PX).flatten(2)
        # torch.quantile would do the same with more work: positions are whole numbers here.
        ordered = colors.sort(dim=2).values
        places = [round(q * (colors.shape[2] - 1)) for q in QUANTILES]
        spread = colors.var(dim=2, correction=0).add(1e-8).sqrt()
        return torch.cat([colors.mean(dim=2), spread, ordered[:, :, places].flatten(1)], dim=1)

    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Send each pixel through the perceptron."""
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
