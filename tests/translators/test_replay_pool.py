import torch

from hemabridge.translators.cyclegan import ReplayPool


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float().view(count, 1, 1, 1).expand(count, 3, 2, 2)


def test_a_pool_that_is_not_full_stores_and_returns_what_is_new() -> None:
    pool = ReplayPool(4)
    assert torch.equal(pool.query(numbered(0, 4)), numbered(0, 4))
    assert sorted(image[0, 0, 0].item() for image in pool.images) == [0, 1, 2, 3]


def test_a_full_pool_swaps_each_image_with_probability_one_half() -> None:
    torch.manual_seed(0)
    pool = ReplayPool(50)
    pool.query(numbered(0, 50))
    new = numbered(1000, 2000)
    shown = pool.query(new)
    swapped = (shown != new).flatten(1).any(dim=1)
    assert 900 < int(swapped.sum()) < 1100  # a binomial of 2000 tosses stays within 4.5 standard deviations
    assert len(pool.images) == 50


def test_an_old_image_is_shown_once_and_replaced_by_the_new_one() -> None:
    torch.manual_seed(1)
    pool = ReplayPool(1)
    pool.query(numbered(0, 1))
    for number in range(1, 30):
        before = pool.images[0][0, 0, 0].item()
        shown = pool.query(numbered(number, 1))[0, 0, 0, 0].item()
        after = pool.images[0][0, 0, 0].item()
        assert (shown, after) in {(number, before), (before, number)}


def test_size_zero_shows_only_what_is_new_and_keeps_nothing() -> None:
    pool = ReplayPool(0)
    assert torch.equal(pool.query(numbered(5, 3)), numbered(5, 3))
    assert pool.state_dict() == {}


def test_state_comes_back() -> None:
    pool, other = ReplayPool(3), ReplayPool(3)
    pool.query(numbered(7, 3))
    other.load_state_dict(pool.state_dict())
    assert torch.equal(torch.stack(other.images), torch.stack(pool.images))


def test_a_restored_pool_shows_its_images_on_the_device_of_the_new_ones() -> None:
    pool, other = ReplayPool(8), ReplayPool(8)
    pool.query(numbered(0, 8))
    other.load_state_dict(pool.state_dict())
    torch.manual_seed(0)
    shown = [other.query(numbered(number, 1).to("meta")) for number in range(8)]
    assert {image.device.type for image in shown} == {"meta"}
