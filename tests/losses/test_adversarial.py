import pytest
import torch

from hemabridge.losses.adversarial import least_squares


def test_least_squares_by_hand() -> None:
    scores = torch.tensor([0.5, 2.0])
    assert least_squares(scores, real=True).item() == pytest.approx((0.25 + 1.0) / 2)
    assert least_squares(scores, real=False).item() == pytest.approx((0.25 + 4.0) / 2)
