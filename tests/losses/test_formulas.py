import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch.nn.functional import cross_entropy, normalize

from hemabridge.losses.formulas import focal_loss, least_squares, logistic, patch_nce, sliced_wasserstein


def test_least_squares_by_hand() -> None:
    scores = torch.tensor([0.5, 2.0])
    assert least_squares(scores, real=True).item() == pytest.approx((0.25 + 1.0) / 2)
    assert least_squares(scores, real=False).item() == pytest.approx((0.25 + 4.0) / 2)


def test_logistic_is_the_cross_entropy_of_goodfellow() -> None:
    scores = torch.tensor([[0.0, 2.0], [-1.0, 50.0]])
    odds = [1 / (1 + math.exp(-score)) for score in (0.0, 2.0, -1.0)]
    real = -sum(math.log(p) for p in odds) / 4  # the fourth is certain: its term is 0 to 1e-21
    assert logistic(scores, real=True).item() == pytest.approx(real, rel=1e-6)
    fake = (-sum(math.log(1 - p) for p in odds) + 50.0) / 4
    assert logistic(scores, real=False).item() == pytest.approx(fake, rel=1e-6)


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


def clouds(count: int = 200, dimensions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    one = torch.randn(count, dimensions, generator=generator)
    return one, torch.rand(count, dimensions, generator=generator) * 2


def test_in_one_dimension_it_is_scipys_distance() -> None:
    one, other = clouds(dimensions=1)
    expected = wasserstein_distance(one[:, 0].numpy(), other[:, 0].numpy())
    assert sliced_wasserstein(one, other).item() == pytest.approx(expected, rel=1e-5)


def test_in_three_dimensions_it_is_scipys_mean_over_its_directions() -> None:
    one, other = clouds()
    torch.manual_seed(0)
    found = sliced_wasserstein(one, other, directions=5).item()
    torch.manual_seed(0)
    slices = torch.randn(5, 3).numpy()
    slices /= np.linalg.norm(slices, axis=1, keepdims=True)
    expected = [wasserstein_distance(one.numpy() @ s, other.numpy() @ s) for s in slices]
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_shift_in_three_dimensions_is_half_as_long_in_the_mean_over_directions() -> None:
    """The mean of |cos| over the sphere is 1/2."""
    one, _ = clouds()
    torch.manual_seed(0)
    moved = one + torch.tensor([0.6, 0.0, 0.8])
    assert sliced_wasserstein(one, moved, directions=20000).item() == pytest.approx(0.5, abs=0.01)


def test_the_order_of_the_points_does_not_matter_and_equal_clouds_are_at_0() -> None:
    one, _ = clouds()
    shuffled = one[torch.randperm(len(one), generator=torch.Generator().manual_seed(0))]
    assert sliced_wasserstein(one, shuffled).item() == pytest.approx(0.0, abs=1e-6)


def test_descending_it_brings_a_cloud_to_the_other() -> None:
    torch.manual_seed(0)
    one, other = clouds()
    shift = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([shift], 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        sliced_wasserstein(other - 1 + shift, other).backward()
        optimizer.step()
    torch.testing.assert_close(shift.detach(), torch.ones(3), rtol=0, atol=0.05)
    assert one.grad is None


def test_clouds_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(200, 3\) and \(100, 3\)"):
        sliced_wasserstein(clouds()[0], clouds(100)[1])


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
