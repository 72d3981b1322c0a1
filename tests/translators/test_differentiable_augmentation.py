import numpy as np
import pytest
import torch

from hemabridge.translators.differentiable_augmentation import augment, cut_out, symmetries, translate
from hemabridge.translators.objective_config import AugmentationConfig

EVERYTHING = AugmentationConfig(cutout=0.5, brightness=0.3)


def numbered(count: int, height: int = 6, width: int = 6) -> torch.Tensor:
    """Images whose pixels are all different and not 0."""
    own = torch.arange(1.0, 3 * height * width + 1).reshape(1, 3, height, width)
    return own.expand(count, -1, -1, -1) / own.numel()


def test_all_eight_symmetries_come_equally_often() -> None:
    torch.manual_seed(0)
    images = numbered(4000)
    found = symmetries(images)
    picture = images[0].numpy()
    eight = [np.rot90(flipped, turn, (1, 2)) for flipped in (picture, picture[:, :, ::-1]) for turn in range(4)]
    counts = [int((found.numpy() == each).all(axis=(1, 2, 3)).sum()) for each in eight]
    assert sum(counts) == 4000
    assert min(counts) > 400  # 500 expected; 4.8 standard deviations


def test_images_that_are_not_square_are_only_mirrored() -> None:
    torch.manual_seed(0)
    found = symmetries(numbered(64, 4, 6))
    assert found.shape == (64, 3, 4, 6)
    assert len({tuple(image.flatten().tolist()) for image in found}) == 4


def test_translation_moves_by_whole_pixels_and_fills_with_gray() -> None:
    torch.manual_seed(0)
    picture = numbered(1, 8, 8)[0].numpy()
    moves = set()
    for moved in translate(numbered(300, 8, 8), 0.25).numpy():
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(moved, shifted(picture, down, right))
        ]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) == 25


def shifted(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(picture, ((0, 0), (2, 2), (2, 2)))
    return padded[:, 2 - down : 10 - down, 2 - right : 10 - right]


def test_cutout_covers_one_square_anywhere() -> None:
    torch.manual_seed(0)
    covered = cut_out(numbered(500, 8, 8), 0.5).numpy() == 0
    assert np.array_equal(covered[:, 0], covered[:, 2])
    for one in covered[:, 0]:
        rows, columns = np.nonzero(one)
        assert one[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        assert rows.max() - rows.min() < 4
    assert covered.any(axis=(0, 1)).all()
    assert covered.sum(axis=(1, 2, 3)).max() == 3 * 16


def test_colors_stay_unless_asked_for() -> None:
    torch.manual_seed(0)
    images = numbered(16)
    found = augment(images, AugmentationConfig())
    known = {tuple(color) for color in images[0].permute(1, 2, 0).reshape(-1, 3).tolist()}
    seen = {tuple(color) for color in found.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert seen <= known | {(0.0, 0.0, 0.0)}
    brighter = augment(images, AugmentationConfig(symmetries=False, translation=0, brightness=0.2))
    steps = (brighter - images).flatten(1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=0, atol=1e-6)
    assert 0.1 < float(steps.abs().max()) <= 0.2


def test_nothing_asked_for_changes_nothing_and_draws_nothing() -> None:
    torch.manual_seed(0)
    images = numbered(2)
    assert augment(images, AugmentationConfig(symmetries=False, translation=0)) is images
    drawn = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(torch.rand(()), drawn)


def test_the_same_seed_gives_the_same_and_each_image_its_own() -> None:
    def once() -> torch.Tensor:
        torch.manual_seed(5)
        return augment(numbered(8), EVERYTHING)

    assert torch.equal(once(), once())
    assert len({tuple(image.flatten().tolist()) for image in once()}) == 8


def test_gradients_come_back_to_the_pixels_that_are_shown() -> None:
    torch.manual_seed(0)
    images = numbered(4).clone().requires_grad_()
    augment(images, EVERYTHING).sum().backward()
    assert images.grad is not None
    assert set(images.grad.flatten().tolist()) == {0.0, 1.0}
    assert all(int(grad.sum()) >= 3 for grad in images.grad)


@pytest.mark.parametrize("wrong", [{"translation": 0.6}, {"cutout": 1.0}, {"brightness": -1}, {"color": True}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentationConfig.model_validate(wrong)
