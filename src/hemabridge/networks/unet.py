"""The U-Net of pix2pix (Ronneberger et al. 2015; Isola et al. 2017, doi:10.1109/CVPR.2017.632)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, pad

from hemabridge.networks.config import UnetConfig, UnetNorm
from hemabridge.networks.layers import initialize_normal

DROPOUT = 0.5
PLAIN_LEVELS = 5
"""Levels beyond these have dropout, as in the reference code: three of the eight levels of `unet_256`."""


class BatchNorm(nn.Module):
    """Batch norm of float[B, C, H, W] with weights and running statistics, all float32.

    It is `torch.nn.BatchNorm2d` without its integer counter of batches, since snapshots hold floating-point tensors
    only. Weights start from N(1, 0.02), as in the reference code.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize; in training by the batch's statistics, which update the running ones with momentum 0.1."""
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum=0.1)


class Unet(nn.Module):
    """Image to image, float[B, in, H, W] to float[B, out, H, W] in [-1, 1]; H and W are multiples of the stride.

    Each level halves height and width by a 4x4 convolution, applies the inner levels, and doubles them again. A skip
    connection concatenates the level's input to its output.
    """

    def __init__(self, config: UnetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [config.channels * min(2**level, 8) for level in range(config.levels)]
        bias = config.norm == "instance"
        downs, ups = [], []
        for level, width in enumerate(widths):
            outer, inner = level == 0, level == config.levels - 1
            before = in_channels if outer else widths[level - 1]
            down = nn.Conv2d(before, width, 4, stride=2, padding=1, bias=bias)
            downs.append(_down(down, config.norm, first=outer, last=inner))
            after = out_channels if outer else before
            up = _doubling(width if inner else 2 * width, after, config.upsampling, bias=bias or outer)
            dropped = config.dropout and not inner and level >= PLAIN_LEVELS - 1
            ups.append(nn.Sequential(nn.ReLU(), *up, *_closing(after, config.norm, last=outer, dropped=dropped)))
        self.downs, self.ups = nn.ModuleList(downs), nn.ModuleList(ups)
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate float[B, in, H, W]."""
        inputs = []
        for down in self.downs:
            x = down(x)
            inputs.append(x)
        out: Tensor = self.ups[-1](inputs.pop())
        for up in list(self.ups)[-2::-1]:
            out = up(torch.cat((inputs.pop(), out), dim=1))
        return out


def norm_layer(norm: UnetNorm, channels: int) -> nn.Module:
    """Return the norm layer for so many channels; instance norm has no weights, as in the reference code."""
    return BatchNorm(channels) if norm == "batch" else nn.InstanceNorm2d(channels)


def padded(images: Tensor, stride: int, least_px: int) -> Tensor:
    """Extend float[B, C, H, W] at the right and at the bottom to multiples of `stride`, by repeating the edge.

    Args:
        images: of any size.
        stride: height and width of the result are multiples of it.
        least_px: the least height and width of the result, a multiple of `stride`.
    """
    height, width = images.shape[-2:]
    right, below = (max(-side % stride, least_px - side) for side in (width, height))
    return pad(images, (0, right, 0, below), mode="replicate")


def _down(convolution: nn.Module, norm: UnetNorm, *, first: bool, last: bool) -> nn.Sequential:
    layers: list[nn.Module] = [] if first else [nn.LeakyReLU(0.2)]
    layers.append(convolution)
    if isinstance(convolution, nn.Conv2d) and not (first or last):
        layers.append(norm_layer(norm, convolution.out_channels))
    return nn.Sequential(*layers)


def _doubling(before: int, after: int, upsampling: Literal["transposed", "resize"], *, bias: bool) -> list[nn.Module]:
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias)]
    return [nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(before, after, 3, padding=1, bias=bias)]


def _closing(channels: int, norm: UnetNorm, *, last: bool, dropped: bool) -> list[nn.Module]:
    if last:
        return [nn.Tanh()]
    return [norm_layer(norm, channels), *([nn.Dropout(DROPOUT)] if dropped else [])]
