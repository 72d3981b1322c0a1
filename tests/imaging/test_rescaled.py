import numpy as np
import pytest

from hemabridge.errors import ImageError
from hemabridge.imaging.rescaled import MAX_INNER_PIXELS, RescaledStandardizer, SqueezedStandardizer
from hemabridge.imaging.standardizer import Standardizer, UInt8Images


class Same:
    """Gives back what it gets, and keeps the sizes that it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def standardize(self, images: UInt8Images) -> UInt8Images:
        self.seen.append(images.shape)
        return images.copy()


class Blurred(Same):
    """Paints every image in its own mean color, 30 gray levels darker: all detail is gone."""

    def standardize(self, images: UInt8Images) -> UInt8Images:
        self.seen.append(images.shape)
        means = images.mean(axis=(1, 2), keepdims=True) - 30.0
        return np.broadcast_to(np.clip(np.rint(means), 0, 255).astype(np.uint8), images.shape)


class Redder(Same):
    """Adds 20 to red, takes 10 from green, and leaves blue."""

    def standardize(self, images: UInt8Images) -> UInt8Images:
        self.seen.append(images.shape)
        return np.clip(images + np.array([20, -10, 0]), 0, 255).astype(np.uint8)


def noise(n: int, height: int, width: int, low: int = 0, high: int = 256) -> UInt8Images:
    return np.random.default_rng(n * height + width).integers(low, high, (n, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", [0.1, 0.37, 0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("size", [(2, 31, 17), (1, 1, 1), (1, 3, 40), (0, 8, 8)])
def test_an_inner_that_changes_nothing_changes_nothing_at_any_scale(scale: float, size: tuple[int, int, int]) -> None:
    images = noise(*size)
    np.testing.assert_array_equal(RescaledStandardizer(Same(), scale).standardize(images), images)


def test_at_scale_1_it_is_the_inner_itself() -> None:
    images, inner = noise(3, 20, 14), Blurred()
    np.testing.assert_array_equal(RescaledStandardizer(inner, 1.0).standardize(images), Blurred().standardize(images))
    assert inner.seen == [images.shape]


@pytest.mark.parametrize(
    ("scale", "seen"), [(0.5, (2, 30, 20, 3)), (0.33, (2, 20, 13, 3)), (2.0, (2, 120, 80, 3)), (0.001, (2, 1, 1, 3))]
)
def test_the_inner_sees_the_images_at_its_own_scale(scale: float, seen: tuple[int, ...]) -> None:
    inner = Same()
    RescaledStandardizer(inner, scale).standardize(noise(2, 60, 40))
    assert inner.seen == [seen]


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.5])
def test_a_change_of_color_arrives_in_full(scale: float) -> None:
    images = np.full((2, 50, 30, 3), (100, 120, 140), dtype=np.uint8)
    out = RescaledStandardizer(Redder(), scale).standardize(images)
    assert np.unique(out.reshape(-1, 3), axis=0).tolist() == [[120, 110, 140]]


def test_detail_that_is_finer_than_the_inner_scale_is_kept() -> None:
    rows, columns = np.mgrid[:64, :64]
    checkers = np.where((rows + columns) % 2, 140, 100).astype(np.uint8)  # the finest detail there is, mean 120
    images = np.repeat(checkers[None, :, :, None], 3, axis=3)
    out = RescaledStandardizer(Blurred(), 0.25).standardize(images).astype(int)
    inside = slice(8, -8)
    np.testing.assert_allclose((out - images)[:, inside, inside], -30, atol=2)
    contrast = np.abs(np.diff(out, axis=2))[:, inside, inside]
    np.testing.assert_allclose(contrast, 40, atol=2)
    assert np.ptp(Blurred().standardize(images)) == 0  # the inner alone would have lost it


def test_a_change_that_grows_from_place_to_place_grows_evenly() -> None:
    class Ramp(Same):
        def standardize(self, images: UInt8Images) -> UInt8Images:
            return images + 8 * np.arange(images.shape[2], dtype=np.uint8)[:, None]

    images = np.full((1, 16, 64, 3), 50, dtype=np.uint8)
    out = RescaledStandardizer(Ramp(), 0.25).standardize(images)[0, 8, 4:-4, 0].astype(float)
    place = np.arange(4, 60)
    np.testing.assert_allclose(out, 50 + 8 * ((place + 0.5) / 4 - 0.5), atol=1)


def test_results_stay_within_0_and_255() -> None:
    bright = RescaledStandardizer(Redder(), 0.5).standardize(np.full((1, 8, 8, 3), 255, np.uint8))
    dark = RescaledStandardizer(Redder(), 0.5).standardize(np.zeros((1, 8, 8, 3), np.uint8))
    assert np.unique(bright.reshape(-1, 3), axis=0).tolist() == [[255, 245, 255]]
    assert np.unique(dark.reshape(-1, 3), axis=0).tolist() == [[20, 0, 0]]


def test_each_image_is_worked_on_by_itself() -> None:
    images = noise(3, 33, 21)
    rescaled = RescaledStandardizer(Blurred(), 0.4)
    one_by_one = np.concatenate([rescaled.standardize(images[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(rescaled.standardize(images), one_by_one)


def test_read_only_and_strided_images_are_taken() -> None:
    images = noise(2, 40, 40)
    images.setflags(write=False)
    np.testing.assert_array_equal(
        RescaledStandardizer(Same(), 0.5).standardize(images[:, ::2, ::-1]), images[:, ::2, ::-1]
    )


def test_a_field_that_is_too_large_at_the_inner_scale_is_refused_before_the_work() -> None:
    inner = Same()
    with pytest.raises(ImageError, match=r"expected at most 4000000 pixels at the model's scale, got 4000 x 2000"):
        RescaledStandardizer(inner, 100.0).standardize(noise(1, 20, 40))
    assert inner.seen == []
    assert MAX_INNER_PIXELS == 4_000_000


@pytest.mark.parametrize(("scale", "height"), [(1.0, 4), (0.5, 8), (2.0, 2)])
def test_a_side_that_is_too_short_at_the_inner_scale_is_refused(scale: float, height: int) -> None:
    rescaled = RescaledStandardizer(Same(), scale, smallest_px=5)
    with pytest.raises(ImageError, match=r"at least 5 pixels at the model's scale, got \d+ x 4"):
        rescaled.standardize(noise(1, height, 40))
    assert rescaled.standardize(noise(1, height * 2, 40)).shape == (1, height * 2, 40, 3)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_is_above_0(scale: float) -> None:
    with pytest.raises(ImageError, match="expected a scale above 0"):
        RescaledStandardizer(Same(), scale)


def test_it_is_a_standardizer() -> None:
    assert isinstance(RescaledStandardizer(Same(), 1.0), Standardizer)
    assert not isinstance(object(), Standardizer)


def test_squeezed_shows_the_inner_one_squares_and_gives_back_every_size() -> None:
    inner = Same()
    images = noise(2, 30, 50)
    np.testing.assert_array_equal(SqueezedStandardizer(inner, 16).standardize(images), images)
    assert inner.seen == [(2, 16, 16, 3)]


def test_what_is_too_large_is_refused_at_scale_1_too() -> None:
    side = int(MAX_INNER_PIXELS**0.5) + 1
    with pytest.raises(ImageError, match=f"expected at most {MAX_INNER_PIXELS} pixels"):
        RescaledStandardizer(Same(), 1.0).standardize(np.zeros((1, side, side, 3), np.uint8))
