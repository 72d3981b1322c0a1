import math

import pytest
import torch

from hemabridge.losses.logistic import logistic


def test_logistic_is_the_cross_entropy_of_goodfellow() -> None:
    scores = torch.tensor([[0.0, 2.0], [-1.0, 50.0]])
    odds = [1 / (1 + math.exp(-score)) for score in (0.0, 2.0, -1.0)]
    real = -sum(math.log(p) for p in odds) / 4  # the fourth is certain: its term is 0 to 1e-21
    assert logistic(scores, real=True).item() == pytest.approx(real, rel=1e-6)
    fake = (-sum(math.log(1 - p) for p in odds) + 50.0) / 4
    assert logistic(scores, real=False).item() == pytest.approx(fake, rel=1e-6)
