import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.metrics.glass_tint import glass_tint, glass_tints

SIDE = 96
PINK, YELLOW = (9.0, -2.0), (-1.0, 9.0)


def glass(color: tuple[int, int, int] = (240, 238, 243)) -> UInt8Image:
    """A dark disc on empty glass."""
    rows, columns = np.indices((SIDE, SIDE)) - SIDE // 2
    image = np.full((SIDE, SIDE, 3), color, np.uint8)
    image[np.hypot(rows, columns) < 25] = (90, 40, 130)
    return image


def tinted(image: UInt8Image, where: NDArray[np.bool_], ab: tuple[float, float]) -> UInt8Image:
    """Move the colors of some pixels in a and b, by scikit-image."""
    lab = rgb2lab(image)
    lab[where, 1:] += ab
    return np.rint(lab2rgb(lab) * 255).astype(np.uint8)


def corner(rows: int) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:rows] = True
    return mask


@pytest.mark.parametrize("ab", [PINK, YELLOW])
def test_a_blotch_has_the_chroma_that_was_put_on(ab: tuple[float, float]) -> None:
    assert glass_tint(glass(), tinted(glass(), corner(15), ab)) == pytest.approx(np.hypot(*ab), abs=0.7)


def test_pink_and_yellow_beside_each_other_are_seen_without_any_white_left() -> None:
    both = tinted(tinted(glass(), corner(40), PINK), ~corner(40), YELLOW)
    assert glass_tint(glass(), both) > 10


@pytest.mark.parametrize("change", ["none", "all glass", "lamp"])
def test_what_all_glass_shares_is_no_blotch(change: str) -> None:
    after = {
        "none": glass(),
        "all glass": tinted(glass(), np.ones((SIDE, SIDE), bool), YELLOW),
        "lamp": np.rint(glass() * np.array([0.9, 0.8, 0.7])).astype(np.uint8),
    }[change]
    assert glass_tint(glass(), after) < 0.5


def test_a_cell_may_have_any_color() -> None:
    after = glass()
    after[(after == (90, 40, 130)).all(axis=2)] = (200, 60, 60)
    assert glass_tint(glass(), after) == 0


def test_a_blotch_that_was_there_before_is_not_new() -> None:
    dirty = tinted(glass(), corner(15), YELLOW)
    assert glass_tint(dirty, dirty) == 0
    assert glass_tint(dirty, glass()) == 0


def test_a_blotch_of_less_than_a_twentieth_is_not_counted_and_one_above_is() -> None:
    empty = np.full((SIDE, SIDE, 3), 240, np.uint8)
    few, many = np.zeros((2, SIDE, SIDE), bool)
    few[6:18, 6:18] = True  # 16 of about 900 blocks
    many[6:36, 6:36] = True  # 100 of them
    assert glass_tint(empty, tinted(empty, few, PINK)) < 0.5
    assert glass_tint(empty, tinted(empty, many, PINK)) == pytest.approx(np.hypot(*PINK), abs=0.7)


def test_a_picture_without_glass_has_no_tint() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    assert glass_tint(noise, noise[::-1]) == 0


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (32, 32), (100, 70), (300, 299)])
def test_any_size_is_measured(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 240, np.uint8)
    assert glass_tints(image[None], image[None]).tolist() == [0.0]
    assert glass_tints(image[None][:0], image[None][:0]).shape == (0,)


def test_the_noise_of_a_camera_is_no_blotch() -> None:
    noise = np.random.default_rng(1).normal(0, 6, (SIDE, SIDE, 3))
    assert glass_tint(glass(), np.clip(glass() + noise, 0, 255).astype(np.uint8)) < 4
