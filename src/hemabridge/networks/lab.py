"""CIE Lab on tensors, with gradients: the formulas of `hemabridge.imaging.color` for use in networks and losses."""

import numpy as np
import torch
from torch import Tensor

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y and Z of the D65 white, 2 degree observer."""

GAMUT_TOLERANCE = 0.5 / 255
"""An sRGB value may leave 0..1 by half an 8-bit level, which rounding removes, before its pixel counts as outside."""

_XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_RGB_OF_XYZ = np.linalg.inv(np.asarray(_XYZ_OF_RGB)).tolist()
_KNEE = 0.008856
_SLOPE = 7.787


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB float[B, 3, H, W] in [-1, 1] to Lab float[B, 3, H, W]: L 0..100, a and b about -128..127.

    D65, 2 degree observer (IEC 61966-2-1:1999; CIE 15:2004), with scikit-image's constants. Gradients are finite
    everywhere, also in black.
    """
    rgb = (images + 1.0) / 2.0
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mixed(linear, images.new_tensor(_XYZ_OF_RGB)) / images.new_tensor(WHITE).view(1, 3, 1, 1)
    root = torch.where(xyz > _KNEE, xyz.clamp(min=_KNEE) ** (1.0 / 3.0), _SLOPE * xyz + 16.0 / 116.0)
    x, y, z = root.unbind(1)
    return torch.stack((116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)), dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert Lab float[B, 3, H, W] (D65, L 0..100) to sRGB float[B, 3, H, W], where [-1, 1] is the gamut.

    Values are not clipped, so that `outside_gamut` can detect colors outside sRGB. Only Z is limited to at least 0, as
    in scikit-image.
    """
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16.0) / 116.0
    root = torch.stack((y + a / 500.0, y, (y - b / 200.0).clamp(min=0.0)), dim=1)
    xyz = torch.where(root > 0.2068966, root**3, (root - 16.0 / 116.0) / _SLOPE)
    linear = _mixed(xyz * lab.new_tensor(WHITE).view(1, 3, 1, 1), lab.new_tensor(_RGB_OF_XYZ))
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1.0 / 2.4) - 0.055, 12.92 * linear)
    return rgb * 2.0 - 1.0


def outside_gamut(images: Tensor) -> Tensor:
    """Return which pixels of unclipped sRGB float[B, 3, H, W] leave [-1, 1] by more than rounding: bool[B, H, W]."""
    return (images.abs() > 1.0 + 2.0 * GAMUT_TOLERANCE).any(dim=1)


def _mixed(channels: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix, channels)
