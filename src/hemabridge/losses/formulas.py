"""Loss functions, each of its paper: adversarial, contrastive, distances of distributions, classification."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, normalize


def least_squares(scores: Tensor, *, real: bool) -> Tensor:
    """Least-squares GAN loss: mean squared distance of the scores to 1 (real) or 0 (fake); a scalar.

    Mao et al. 2017, doi:10.1109/ICCV.2017.304, Eq. 2 with a = 0, b = c = 1 and without its factor 1/2.
    """
    return mse_loss(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))


def logistic(scores: Tensor, *, real: bool) -> Tensor:
    """Mean cross-entropy of the scores, as log-odds of being real, to "real" or "fake"; a scalar.

    Goodfellow et al. 2014 (arXiv:1406.2661), Eq. 1; a generator takes the non-saturating form of its section 3, which
    is `logistic(scores of fakes, real=True)`. The reference implementation of pix2pix calls it "vanilla".
    """
    return binary_cross_entropy_with_logits(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean PatchNCE loss of float[B, P, C] queries against float[B, P, C] keys, both of length 1; a scalar.

    Query p of an image must tell key p, which was taken from the same place, from the P - 1 other keys of that image:
    the cross-entropy of the P similarities divided by the temperature (Park et al. 2020,
    doi:10.1007/978-3-030-58545-7_19, Eqs. 2 and 3). No gradient reaches the keys, as in the reference implementation.
    """
    similarities = torch.bmm(queries, keys.detach().transpose(1, 2)) / temperature
    own = torch.arange(queries.shape[1], device=queries.device).expand(queries.shape[:2])
    return cross_entropy(similarities.flatten(0, 1), own.flatten())


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


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal loss of float[B, C] logits against int64[B] labels; gamma 0 is cross-entropy.

    FL(p) = -(1 - p)^gamma log(p) with p the probability of the true class (Lin et al. 2017,
    doi:10.1109/ICCV.2017.324, Eq. 4, without its alpha: the classes are not weighted).
    """
    log_p = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (-((1.0 - log_p.exp()) ** gamma) * log_p).mean()
