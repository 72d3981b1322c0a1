import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from hemabridge.losses.focal import focal_loss


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # the true class has p = 3/4, then p = 1/2
    expected = (-(0.25**2) * math.log(0.75) - 0.5**2 * math.log(0.5)) / 2
    assert focal_loss(logits, torch.tensor([0, 1]), gamma=2.0).item() == pytest.approx(expected, rel=1e-6)


def test_gamma_0_is_cross_entropy_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (64,), generator=generator)
    ours, theirs = (torch.randn(64, 5, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    focal, reference = focal_loss(ours, labels, gamma=0.0), cross_entropy(theirs, labels)
    torch.testing.assert_close(focal, reference)
    torch.testing.assert_close(*torch.autograd.grad(focal, ours), *torch.autograd.grad(reference, theirs))


def test_focal_loss_neglects_what_is_already_right() -> None:
    labels = torch.tensor([0])
    sure, unsure = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.1, 0.0]])
    share = [focal_loss(x, labels).item() / cross_entropy(x, labels).item() for x in (sure, unsure)]
    assert share[0] < 1e-4
    assert share[1] > 0.2
