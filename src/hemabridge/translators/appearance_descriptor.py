"""Appearance descriptors as tensors: color statistics of images, and their distance from those of the training."""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hemabridge.networks.color_generators import thumbnail

THUMBNAIL_PX: Final = 32
QUANTILES: Final = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)
DIRECTIONS: Final = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (0, 1, -1), (1, 0, -1), (1, 1, 1))
"""Directions in RGB, scaled to length 1, along which quantiles are measured: channels, contrasts, brightness."""

MOMENTS: Final = 12
"""The first entries of a descriptor: mean, float[3], and second moments, float[3, 3]."""

DESCRIPTOR_SIZE: Final = MOMENTS + len(DIRECTIONS) * len(QUANTILES)
"""Number of entries of a descriptor."""

COMPONENTS: Final = 8
"""Number of principal axes along which distances are measured; descriptors vary along few (dyes, lamp, camera)."""

SMALLEST_VARIANCE: Final = 1e-4
"""Variance of colors in [-1, 1] that is added to every direction; about that of rounding and noise."""


def descriptors_of(images: Tensor) -> Tensor:
    """Return descriptors of float[B, 3, H, W] in [-1, 1], computed from thumbnails: float[B, DESCRIPTOR_SIZE].

    The descriptor of a site is the mean over its images. A mean of quantiles over images differs from the quantile of
    all pixels, but is as stable, and needs each image only once.
    """
    colors = thumbnail(images, THUMBNAIL_PX).flatten(2)
    count = colors.shape[2]
    moments = torch.einsum("bcn,bdn->bcd", colors, colors) / count
    axes = normalize(images.new_tensor(DIRECTIONS), dim=1)
    ordered = torch.einsum("dc,bcn->bdn", axes, colors).sort(dim=2).values
    places = [round(q * (count - 1)) for q in QUANTILES]
    return torch.cat([colors.mean(dim=2), moments.flatten(1), ordered[:, :, places].flatten(1)], dim=1)


def moments_of(descriptors: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean float[B, 3] and covariance float[B, 3, 3] of the colors of float[B, DESCRIPTOR_SIZE]."""
    mean = descriptors[:, :3]
    return mean, descriptors[:, 3:MOMENTS].reshape(-1, 3, 3) - mean.unsqueeze(2) * mean.unsqueeze(1)


def monge_matrices(source: Tensor, target: Tensor) -> Tensor:
    """Return the symmetric maps float[B, 3, 3] that make covariances float[B, 3, 3] the target's float[3, 3].

    The linear optimal transport between Gaussians, T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2: Pitie and Kokaram (2007),
    CVMP, eq. 12-13, doi:10.1049/cp:20070055.
    """
    noise = SMALLEST_VARIANCE * torch.eye(3, device=source.device)
    root, inverse = _power(source + noise, 0.5), _power(source + noise, -0.5)
    return inverse @ _power(root @ (target + noise) @ root, 0.5) @ inverse


def principal_axes(descriptors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, principal axes and standard deviations of float[N, DESCRIPTOR_SIZE], for `distances_of`.

    The mean is float[DESCRIPTOR_SIZE]. The orthonormal axes are float[DESCRIPTOR_SIZE, COMPONENTS]; axes beyond N - 1
    are 0. The standard deviations along the axes and, last, of the residual are float[COMPONENTS + 1].
    """
    mean = descriptors.mean(dim=0)
    _, _, found = torch.linalg.svd(descriptors - mean, full_matrices=False)
    axes = descriptors.new_zeros(descriptors.shape[1], COMPONENTS)
    kept = found[:COMPONENTS].T
    axes[:, : kept.shape[1]] = kept
    deviations = _components(descriptors - mean, axes).square().mean(dim=0).sqrt()
    return mean, axes, deviations.clamp(min=SMALLEST_VARIANCE**0.5)


def distances_of(descriptors: Tensor, mean: Tensor, axes: Tensor, deviations: Tensor) -> Tensor:
    """Return the distance of float[N, DESCRIPTOR_SIZE] from the descriptors of `principal_axes`: float[N].

    It is the root mean square of the components in standard deviations (Mahalanobis 1936), with the length of the
    residual as one more component; about 1 for typical descriptors.
    """
    return (_components(descriptors - mean, axes) / deviations).square().mean(dim=1).sqrt()


def _components(centered: Tensor, axes: Tensor) -> Tensor:
    along = centered @ axes
    left = (centered - along @ axes.T).norm(dim=1, keepdim=True)
    return torch.cat([along, left], dim=1)


def _power(matrices: Tensor, exponent: float) -> Tensor:
    values, axes = torch.linalg.eigh(matrices)
    power: Tensor = (axes * values.clamp(min=1e-8).unsqueeze(-2) ** exponent) @ axes.transpose(-1, -2)
    return power
