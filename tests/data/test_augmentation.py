import numpy as np
import pytest

from hemabridge.data.augmentation import dihedral, random_crop, random_crop_flip, shift


def _numbered(count: int, side: int) -> np.ndarray:
    """Images whose pixels hold their own row, column and image number."""
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    images = np.repeat(image[None], count, axis=0)
    images[..., 2] = np.arange(count, dtype=np.uint8)[:, None, None]
    return images


def test_random_crop_cuts_a_connected_square_from_every_place() -> None:
    images = _numbered(200, 6)
    crops = random_crop(images, 4, np.random.default_rng(0))
    assert crops.shape == (200, 4, 4, 3)
    assert crops.dtype == np.uint8
    assert np.array_equal(crops[..., 2], np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 4, 4)))
    assert (np.diff(crops[..., 0].astype(int), axis=1) == 1).all()
    assert (np.diff(crops[..., 1].astype(int), axis=2) == 1).all()
    assert {(int(c[0, 0, 0]), int(c[0, 0, 1])) for c in crops} == {(r, c) for r in range(3) for c in range(3)}


def test_random_crop_flip_mirrors_about_half_of_the_columns_and_no_rows() -> None:
    crops = random_crop_flip(_numbered(400, 6), 5, np.random.default_rng(1))
    steps = np.diff(crops[..., 1].astype(int), axis=2)
    mirrored = (steps == -1).all(axis=(1, 2))
    assert ((steps == 1).all(axis=(1, 2)) | mirrored).all()
    assert 160 <= mirrored.sum() <= 240
    assert (np.diff(crops[..., 0].astype(int), axis=1) == 1).all()


def test_random_crop_flip_depends_on_the_generator_alone_and_leaves_its_input() -> None:
    images = np.random.default_rng(2).integers(0, 256, (8, 10, 10, 3), dtype=np.uint8)
    before = images.copy()
    first, again = (random_crop_flip(images, 7, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(images, before)
    assert not np.array_equal(first, random_crop_flip(images, 7, np.random.default_rng(4)))


@pytest.mark.parametrize("crop_px", [0, 7])
def test_a_crop_that_does_not_fit_is_refused(crop_px: int) -> None:
    with pytest.raises(ValueError, match=r"expected a crop of 1 to 6 px"):
        random_crop(_numbered(1, 6), crop_px, np.random.default_rng(0))


def test_shift_moves_and_repeats_the_edge() -> None:
    images = _numbered(300, 5)
    moved = shift(images, 2, np.random.default_rng(5))
    assert moved.shape == images.shape
    expected = {
        (down, right): np.clip(np.arange(5)[:, None] + down, 0, 4) * 10 + np.clip(np.arange(5)[None] + right, 0, 4)
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    seen = set()
    for image in moved:
        found = image[..., 0].astype(int) * 10 + image[..., 1]
        matching = [place for place, grid in expected.items() if np.array_equal(grid, found)]
        assert len(matching) == 1
        seen.add(matching[0])
    assert seen == set(expected)


def test_no_shift_changes_nothing() -> None:
    images = _numbered(3, 5)
    assert np.array_equal(shift(images, 0, np.random.default_rng(0)), images)


def test_dihedral_gives_exactly_the_eight_symmetries() -> None:
    images = np.repeat(np.random.default_rng(6).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8), 400, axis=0)
    turned = dihedral(images, np.random.default_rng(7))
    image = images[0]
    symmetries = {
        np.ascontiguousarray(turn).tobytes()
        for flip in (image, image.transpose(1, 0, 2))
        for turn in (flip, flip[::-1], flip[:, ::-1], flip[::-1, ::-1])
    }
    counts = {one: 0 for one in symmetries}
    for one in turned:
        counts[one.tobytes()] += 1
    assert len(counts) == 8
    assert min(counts.values()) >= 25


def test_dihedral_refuses_what_is_not_square() -> None:
    with pytest.raises(ValueError, match=r"expected square images, got 5 x 4"):
        dihedral(np.zeros((1, 4, 5, 3), np.uint8), np.random.default_rng(0))
