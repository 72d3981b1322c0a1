"""Loss functions: adversarial, contrastive, distance of distributions, classification. Each cites its paper."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, normalize


def least_squares(scores: Tensor, *, real: bool) -> Tensor:
    """Least-squares GAN loss: mean squared distance of the scores to 1 (real) or 0 (fake); a scalar.

    Mao et al. 2017, doi:10.1109/ICCV.2017.304, Eq. 2 with a = 0, b = c = 1 and without its factor 1/2.
    """
    return mse_loss(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))


def logistic(scores: Tensor, *, real: bool) -> Tensor:
    """Mean binary cross-entropy of scores, which are log-odds of "real", to "real" or "fake"; a scalar.

    Goodfellow et al. 2014 (arXiv:1406.2661), Eq. 1. A generator minimizes the non-saturating form of its section 3,
    `logistic(scores of fakes, real=True)`. The reference implementation of pix2pix has it as "vanilla".
    """
    return binary_cross_entropy_with_logits(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean PatchNCE loss of float[B, P, C] queries and float[B, P, C] keys, both of length 1; a scalar.

    Query p of an image and key p come from the same place, and the P - 1 other keys of the image are negatives. The
    loss is the cross-entropy of the P similarities divided by the temperature (Park et al. 2020,
    doi:10.1007/978-3-030-58545-7_19, Eqs. 2 and 3). No gradient reaches the keys, as in the reference implementation.
    """
    similarities = torch.bmm(queries, keys.detach().transpose(1, 2)) / temperature
    own = torch.arange(queries.shape[1], device=queries.device).expand(queries.shape[:2])
    return cross_entropy(similarities.flatten(0, 1), own.flatten())


def sliced_wasserstein(one: Tensor, other: Tensor, directions: int = 16) -> Tensor:
    """Return the sliced 1-Wasserstein distance of two clouds of points, float[N, D] and float[N, D]: a scalar.

    It is the mean, over random directions, of the mean distance of the sorted projections (Bonneel et al. 2015,
    doi:10.1007/s10851-014-0506-3, with p = 1). It has no discriminator and decreases steadily, unlike an adversarial
    loss. Directions are drawn from torch's global generator.

    Raises:
        ValueError: the shapes differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"expected clouds of one shape, got {tuple(one.shape)} and {tuple(other.shape)}")
    slices = normalize(torch.randn(directions, one.shape[1], device=one.device), dim=1).T
    first, second = (one @ slices).sort(dim=0).values, (other @ slices).sort(dim=0).values
    return (first - second).abs().mean()


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal loss of float[B, C] logits and int64[B] labels, a scalar; gamma 0 is cross-entropy.

    FL(p) = -(1 - p)^gamma log(p) with p the probability of the true class (Lin et al. 2017,
    doi:10.1109/ICCV.2017.324, Eq. 4, without its alpha: the classes are not weighted).
    """
    log_p = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (-((1.0 - log_p.exp()) ** gamma) * log_p).mean()
