"""The adversarial loss of the first GAN."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def logistic(scores: Tensor, *, real: bool) -> Tensor:
    """Mean cross-entropy of the scores, as log-odds of being real, to "real" or "fake"; a scalar.

    Goodfellow et al. 2014 (arXiv:1406.2661), Eq. 1; a generator takes the non-saturating form of its section 3, which
    is `logistic(scores of fakes, real=True)`. The reference implementation of pix2pix calls it "vanilla".
    """
    return binary_cross_entropy_with_logits(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))
