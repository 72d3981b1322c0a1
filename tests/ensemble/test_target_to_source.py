import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import TargetToSourceConfig
from hemabridge.ensemble.target_to_source import target_to_source
from hemabridge.errors import InputError

CONFIG = TargetToSourceConfig(restainings=("linear-ot", "histogram"), subdomains=2, copies=3, train=ClassifierConfig())


def fields(*colors: tuple[int, int, int], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return `count` images of each color of the empty field, each with a dark square in its middle."""
    rng = np.random.default_rng(seed)
    images = np.repeat(np.array(colors, np.int64), count, axis=0)[:, None, None, :] * np.ones((1, 16, 16, 1), np.int64)
    images[:, 5:11, 5:11] = images[:, 5:11, 5:11] // 2
    return np.clip(images + rng.integers(-3, 4, images.shape), 0, 255).astype(np.uint8)


def target(count: int = 9) -> CellSet:
    images = fields((220, 210, 205), (200, 205, 220), count=count, seed=1)
    names = tuple(map(str, range(2 * count)))
    return CellSet(images, np.repeat([0, 1], count), ("a", "b"), names, names, 16)


def test_copies_have_the_colors_of_the_source_and_keep_labels() -> None:
    known = target()
    source = fields((250, 245, 150), (150, 245, 250), count=20)
    prediction = np.full((40, 2), 0.5, np.float32)
    found = target_to_source(CONFIG, known, source, prediction, seed=0)
    assert len(found) == 4 * len(known)
    np.testing.assert_array_equal(found.images[: len(known)], known.images)
    np.testing.assert_array_equal(found.labels, np.tile(known.labels, 4))
    assert found.ids == known.ids * 4
    blues = np.median(found.images[len(known) :, :3].reshape(3 * len(known), -1, 3), axis=1)[:, 2]
    assert ((np.abs(blues - 150) < 25) | (np.abs(blues - 250) < 25)).mean() > 0.9
    assert (blues < 200).any()
    assert (blues > 200).any()
    again = target_to_source(CONFIG, known, source, prediction, seed=0)
    np.testing.assert_array_equal(found.images, again.images)


def test_an_prediction_about_other_images_or_classes_is_refused() -> None:
    source = fields((250, 245, 150), count=12)
    for shape in ((11, 2), (12, 3)):
        with pytest.raises(InputError, match="for each of the source's images"):
            target_to_source(CONFIG, target(), source, np.ones(shape, np.float32), seed=0)
    with pytest.raises(ValidationError, match="expected different normalizers of"):
        TargetToSourceConfig(restainings=("linear-oat",), train=ClassifierConfig())
