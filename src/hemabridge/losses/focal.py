"""Classification losses."""

import torch
from torch import Tensor


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal loss of float[B, C] logits against int64[B] labels; gamma 0 is cross-entropy.

    FL(p) = -(1 - p)^gamma log(p) with p the probability of the true class (Lin et al. 2017,
    doi:10.1109/ICCV.2017.324, Eq. 4, without its alpha: the classes are not weighted).
    """
    log_p = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (-((1.0 - log_p.exp()) ** gamma) * log_p).mean()
