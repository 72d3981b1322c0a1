"""Adversarial losses."""

import torch
from torch import Tensor


def least_squares(scores: Tensor, *, real: bool) -> Tensor:
    """Least-squares GAN loss: mean squared distance of the scores to 1 (real) or 0 (fake); a scalar.

    Mao et al. 2017, doi:10.1109/ICCV.2017.304, Eq. 2 with a = 0, b = c = 1 and without its factor 1/2.
    """
    return torch.nn.functional.mse_loss(scores, torch.ones_like(scores) if real else torch.zeros_like(scores))
