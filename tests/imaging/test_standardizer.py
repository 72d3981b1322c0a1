"""The contract that every standardizer keeps. A new one joins with one line in `STANDARDIZERS`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hemabridge.imaging.rescaled import RescaledStandardizer, SqueezedStandardizer
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models import open_model
from hemabridge.networks.catalog import new_generator
from hemabridge.networks.config import (
    BilateralGridConfig,
    ColorLutConfig,
    GeneratorConfig,
    PixelNetworkConfig,
    ResnetGeneratorConfig,
)
from hemabridge.translators.neural import NeuralStandardizer

GENERATORS: dict[str, GeneratorConfig] = {
    "pixel network": PixelNetworkConfig(),
    "pixel network, conditioned": PixelNetworkConfig(conditioned=True),
    "color table": ColorLutConfig(points=5),
    "bilateral grid": BilateralGridConfig(),
    "resize-convolution": ResnetGeneratorConfig(channels=4, blocks=1, upsampling="nearest"),
}


def moved(config: GeneratorConfig) -> Standardizer:
    """Return a generator whose weights were moved by chance, as training might leave it."""
    torch.manual_seed(3)
    generator = new_generator(config)
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return NeuralStandardizer(generator)


STANDARDIZERS: dict[str, Callable[[Path], Standardizer]] = {
    "neural": lambda path: open_model(path).cell_standardizer(),
    "neural, small batches": lambda path: NeuralStandardizer(open_model(path).cell_standardizer().generator, 2),
    "rescaled, shrunk": lambda path: RescaledStandardizer(open_model(path).cell_standardizer(), 0.6),
    "squeezed": lambda path: SqueezedStandardizer(open_model(path).cell_standardizer(), 24),
    "rescaled, grown": lambda path: RescaledStandardizer(open_model(path).cell_standardizer(), 1.3),
    "as the command loads it": lambda path: open_model(path).standardizer(),
    **{name: lambda _, config=config: moved(config) for name, config in GENERATORS.items()},
}
"""By name: makes the standardizer from the snapshot of a small translator."""

SIZES = [(32, 32), (33, 41), (16, 57)]


@pytest.fixture(params=STANDARDIZERS)
def standardizer(request: pytest.FixtureRequest, small_snapshot: Path) -> Standardizer:
    return STANDARDIZERS[request.param](small_snapshot)


def noise(n: int, height: int, width: int) -> UInt8Images:
    return np.random.default_rng(height + width).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def test_keeps_the_protocol(standardizer: Standardizer) -> None:
    assert isinstance(standardizer, Standardizer)


@pytest.mark.parametrize("size", SIZES)
def test_gives_as_many_images_of_the_same_size_and_type(standardizer: Standardizer, size: tuple[int, int]) -> None:
    images = noise(3, *size)
    out = standardizer.standardize(images)
    assert (out.shape, out.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("n", [0, 2])
def test_leaves_the_input_untouched(standardizer: Standardizer, n: int) -> None:
    images = noise(n, 33, 41)
    before = images.copy()
    out = standardizer.standardize(images)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(out, images)


def test_gives_the_same_again(standardizer: Standardizer) -> None:
    images = noise(3, 33, 41)
    np.testing.assert_array_equal(standardizer.standardize(images), standardizer.standardize(images))


@pytest.mark.parametrize("size", SIZES)
def test_an_image_alone_is_re_stained_as_among_others(standardizer: Standardizer, size: tuple[int, int]) -> None:
    images = noise(5, *size)
    together = standardizer.standardize(images)
    alone = np.concatenate([standardizer.standardize(images[i : i + 1]) for i in range(5)])
    # Sums of floats in another order may land on the other side of a rounding.
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert np.mean(together != alone) < 1e-3


def test_the_order_of_the_images_does_not_matter(standardizer: Standardizer) -> None:
    images = noise(4, 32, 32)
    backwards = standardizer.standardize(images[::-1])[::-1]
    np.testing.assert_array_equal(backwards, standardizer.standardize(images))


def test_no_images_give_no_images(standardizer: Standardizer) -> None:
    out = standardizer.standardize(noise(0, 32, 24))
    assert (out.shape, out.dtype) == ((0, 32, 24, 3), np.uint8)


def test_different_images_stay_different(standardizer: Standardizer) -> None:
    out = standardizer.standardize(noise(2, 32, 32))
    assert np.abs(out[0].astype(int) - out[1]).mean() > 1
