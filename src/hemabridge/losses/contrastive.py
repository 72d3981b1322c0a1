"""Contrastive losses."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean PatchNCE loss of float[B, P, C] queries against float[B, P, C] keys, both of length 1; a scalar.

    Query p of an image must tell key p, which was taken from the same place, from the P - 1 other keys of that image:
    the cross-entropy of the P similarities divided by the temperature (Park et al. 2020,
    doi:10.1007/978-3-030-58545-7_19, Eqs. 2 and 3). No gradient reaches the keys, as in the reference implementation.
    """
    similarities = torch.bmm(queries, keys.detach().transpose(1, 2)) / temperature
    own = torch.arange(queries.shape[1], device=queries.device).expand(queries.shape[:2])
    return cross_entropy(similarities.flatten(0, 1), own.flatten())
