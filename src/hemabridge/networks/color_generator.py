"""Generators that change colors and move nothing: what they share."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

INNER = 0.95
"""How much of tanh's range is used for [-1, 1]: at 1, black and white could never become another color."""


class ColorGenerator(nn.Module, ABC):
    """Recolors pixel by pixel, in the light of a summary of the image: float[B, 3, H, W] in [-1, 1] to the same.

    The summary is made from a thumbnail of fixed size, whatever the size of the image. Given the summary, a pixel's new
    color depends on its own old color (and, in a bilateral grid, on its place): no edge can move, appear or vanish
    but by two colors becoming more alike or less. Every member starts as the identity.
    """

    is_pointwise = True
    """Whether a pixel's new color depends on nothing but its old one and the summary; not on its place."""

    @abstractmethod
    def summarize(self, images: Tensor) -> Tensor:
        """Summarize float[B, 3, H, W] in [-1, 1]: float[B, ...]."""

    @abstractmethod
    def recolor(self, images: Tensor, summary: Tensor) -> Tensor:
        """Recolor float[B, 3, H, W] in [-1, 1] in the light of what `summarize` returned for B images."""

    def penalty(self, summary: Tensor) -> Tensor:
        """Return how rough the color map is that belongs to a summary: a scalar of at least 0, 0 at the start."""
        return summary.new_zeros(())

    def forward(self, images: Tensor) -> Tensor:
        """Translate float[B, 3, H, W] in [-1, 1], of any size."""
        return self.recolor(images, self.summarize(images))


def thumbnail(images: Tensor, side_px: int) -> Tensor:
    """Shrink float[B, 3, H, W] to float[B, 3, side_px, side_px] by means over areas."""
    return adaptive_avg_pool2d(images, side_px)


def shift_colors(colors: Tensor, shift: Tensor) -> Tensor:
    """Move colors in [-1, 1] by any finite shift, smoothly slower near the ends; a shift of 0 changes nothing.

    y = tanh(atanh(a x) + s) / a with a = `INNER`, written by the addition theorem of tanh, so that s = 0 gives x to the
    bit; then cut to [-1, 1].
    """
    t = torch.tanh(shift)
    moved = colors + t * (1 / INNER - INNER * colors.square()) / (1 + INNER * colors * t)
    return moved.clamp(-1.0, 1.0)
