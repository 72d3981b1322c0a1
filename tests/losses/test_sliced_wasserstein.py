import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from hemabridge.losses.sliced_wasserstein import sliced_wasserstein


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
