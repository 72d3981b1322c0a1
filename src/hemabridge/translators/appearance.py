"""The look of a site: colour statistics of its images, and how far it is from the looks that a model has learnt."""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hemabridge.networks.color_generator import thumbnail

THUMBNAIL_PX: Final = 32
QUANTILES: Final = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)
DIRECTIONS: Final = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (0, 1, -1), (1, 0, -1), (1, 1, 1))
"""Along these directions of RGB, made of length 1, quantiles are taken: three channels, three contrasts, brightness."""

MOMENTS: Final = 12
"""The first entries of a look: mean, float[3], and second moments, float[3, 3]."""

LOOK: Final = MOMENTS + len(DIRECTIONS) * len(QUANTILES)
"""Entries of a look."""

COMPONENTS: Final = 8
"""Looks vary along a few directions (dyes, lamp, camera); distances are measured along so many."""

SMALLEST_VARIANCE: Final = 1e-4
"""Of colours in [-1, 1], as added to every direction: rounding and noise have about as much."""


def looks_of(images: Tensor) -> Tensor:
    """Measure float[B, 3, H, W] in [-1, 1]: float[B, LOOK], taken from thumbnails; a site's look is the mean of these.

    A mean of quantiles over images is not the quantile of all pixels, but as steady, and it needs no image twice.
    """
    colours = thumbnail(images, THUMBNAIL_PX).flatten(2)
    count = colours.shape[2]
    moments = torch.einsum("bcn,bdn->bcd", colours, colours) / count
    axes = normalize(images.new_tensor(DIRECTIONS), dim=1)
    ordered = torch.einsum("dc,bcn->bdn", axes, colours).sort(dim=2).values
    places = [round(q * (count - 1)) for q in QUANTILES]
    return torch.cat([colours.mean(dim=2), moments.flatten(1), ordered[:, :, places].flatten(1)], dim=1)


def moments_of(looks: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean float[B, 3] and covariance float[B, 3, 3] of the colours of float[B, LOOK]."""
    mean = looks[:, :3]
    return mean, looks[:, 3:MOMENTS].reshape(-1, 3, 3) - mean.unsqueeze(2) * mean.unsqueeze(1)


def monge_matrices(source: Tensor, target: Tensor) -> Tensor:
    """Return the symmetric maps float[B, 3, 3] that make covariances float[B, 3, 3] the target's float[3, 3].

    The linear optimal transport between Gaussians, T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2: Pitie and Kokaram (2007),
    CVMP, eq. 12-13, doi:10.1049/cp:20070055.
    """
    noise = SMALLEST_VARIANCE * torch.eye(3, device=source.device)
    root, inverse = _power(source + noise, 0.5), _power(source + noise, -0.5)
    return inverse @ _power(root @ (target + noise) @ root, 0.5) @ inverse


def principal_axes(looks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `distances_of` needs of float[N, LOOK]: mean, axes and standard deviations.

    Mean float[LOOK]; orthonormal axes float[LOOK, COMPONENTS], zeros beyond the N - 1 that N looks have; the standard
    deviation along each and, last, of what the axes leave over, float[COMPONENTS + 1].
    """
    mean = looks.mean(dim=0)
    _, _, found = torch.linalg.svd(looks - mean, full_matrices=False)
    axes = looks.new_zeros(looks.shape[1], COMPONENTS)
    kept = found[:COMPONENTS].T
    axes[:, : kept.shape[1]] = kept
    deviations = _components(looks - mean, axes).square().mean(dim=0).sqrt()
    return mean, axes, deviations.clamp(min=SMALLEST_VARIANCE**0.5)


def distances_of(looks: Tensor, mean: Tensor, axes: Tensor, deviations: Tensor) -> Tensor:
    """Return how far float[N, LOOK] lies from the looks of `principal_axes`: float[N], about 1 for the usual.

    The root mean square of the components in standard deviations (Mahalanobis 1936), with the length of what the axes
    leave over as one more component.
    """
    return (_components(looks - mean, axes) / deviations).square().mean(dim=1).sqrt()


def _components(centred: Tensor, axes: Tensor) -> Tensor:
    along = centred @ axes
    left = (centred - along @ axes.T).norm(dim=1, keepdim=True)
    return torch.cat([along, left], dim=1)


def _power(matrices: Tensor, exponent: float) -> Tensor:
    values, axes = torch.linalg.eigh(matrices)
    power: Tensor = (axes * values.clamp(min=1e-8).unsqueeze(-2) ** exponent) @ axes.transpose(-1, -2)
    return power
