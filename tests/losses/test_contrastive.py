import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hemabridge.losses.contrastive import patch_nce


def vectors(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_patch_nce_by_hand() -> None:
    """Two places: the first query points half way to its own key, the second at the key of the other place."""
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    queries = torch.tensor([[[0.6, 0.8], [1.0, 0.0]]])
    first = -math.log(math.exp(0.6 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5)))
    second = -math.log(math.exp(0.0) / (math.exp(0.0) + math.exp(1.0 / 0.5)))
    assert patch_nce(queries, keys, 0.5).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_patch_nce_is_the_cross_entropy_of_the_paper_counted_place_by_place() -> None:
    queries, keys = vectors(0, 3, 7, 5), vectors(1, 3, 7, 5)
    q, k = queries.double().numpy(), keys.double().numpy()
    losses = []
    for image in range(3):
        for place in range(7):
            positive = np.exp(q[image, place] @ k[image, place] / 0.07)
            negatives = [np.exp(q[image, place] @ k[image, n] / 0.07) for n in range(7) if n != place]
            losses.append(-np.log(positive / (positive + sum(negatives))))
    assert patch_nce(queries, keys, 0.07).item() == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_negatives_come_from_the_same_image_only() -> None:
    queries, keys = vectors(0, 2, 6, 4), vectors(1, 2, 6, 4)
    apart = [patch_nce(queries[i : i + 1], keys[i : i + 1]).item() for i in range(2)]
    assert patch_nce(queries, keys).item() == pytest.approx(sum(apart) / 2, rel=1e-5)


def test_vectors_that_do_not_tell_places_apart_cost_the_log_of_their_number() -> None:
    same = torch.ones(1, 9, 1)
    assert patch_nce(same, same).item() == pytest.approx(math.log(9), rel=1e-6)


def test_the_gradient_reaches_the_queries_and_not_the_keys() -> None:
    queries, keys = vectors(0, 1, 4, 3).requires_grad_(), vectors(1, 1, 4, 3).requires_grad_()
    patch_nce(queries, keys).backward()
    assert queries.grad is not None
    assert queries.grad.abs().sum().item() > 0
    assert keys.grad is None
