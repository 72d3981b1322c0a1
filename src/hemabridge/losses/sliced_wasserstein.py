"""Distance of two distributions, without a discriminator."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def sliced_wasserstein(one: Tensor, other: Tensor, directions: int = 16) -> Tensor:
    """Return the sliced 1-Wasserstein distance of two clouds of points, float[N, D] and float[N, D]: a scalar.

    The mean, over random directions, of the mean distance of the sorted projections (Bonneel et al. 2015,
    doi:10.1007/s10851-014-0506-3, with p = 1); unlike an adversarial loss it has no discriminator to run away from or
    to run after, so it falls steadily. Directions come from torch's global generator.

    Raises:
        ValueError: the clouds differ in shape.
    """
    if one.shape != other.shape:
        raise ValueError(f"expected clouds of one shape, got {tuple(one.shape)} and {tuple(other.shape)}")
    slices = normalize(torch.randn(directions, one.shape[1], device=one.device), dim=1).T
    first, second = (one @ slices).sort(dim=0).values, (other @ slices).sort(dim=0).values
    return (first - second).abs().mean()
