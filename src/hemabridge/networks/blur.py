"""Halving a layer without aliasing (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again")."""

from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

Downsampling: TypeAlias = Literal["strided", "blurred"]
"""How convolutions halve a picture: by a stride of 2, or with a stride of 1 and a blur before every other pixel is left
out, as CUT does."""


class BlurredHalf(nn.Module):
    """Blur with [1, 2, 1] / 4 in both directions, reflected at the edge, and keep every other pixel.

    float[B, C, H, W] to float[B, C, ceil(H / 2), ceil(W / 2)]; arXiv:1904.11486, section 3.2, "Triangle-3". Two means
    of neighbors are that blur: it needs no weights, and so nothing of it is stored.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Halve float[B, C, H, W]; H and W are at least 2."""
        return avg_pool2d(avg_pool2d(pad(x, (1, 1, 1, 1), mode="reflect"), 2, stride=1), 2, stride=2)
