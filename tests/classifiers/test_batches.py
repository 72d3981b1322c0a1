from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from hemabridge.classifiers.batches import LabeledBatches, balanced_order
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import CellSet


@pytest.fixture
def batches_of(easy_cells: Callable[..., CellSet]) -> Callable[..., LabeledBatches]:
    def make(count: int = 20, *, seed: int = 0, balanced: bool = True) -> LabeledBatches:
        cells = easy_cells(count, shares=(3, 1), size_px=8)
        return LabeledBatches(cells.images, cells.labels, Preprocessing(size_px=8), 6, balanced, 1, seed)

    return make


def test_batches_depend_on_the_seed_and_the_place_alone(batches_of: Callable[..., LabeledBatches]) -> None:
    whole = list(islice(batches_of()(0), 8))
    later = list(islice(batches_of()(5 * 6), 3))
    for one, other in zip(whole[5:], later, strict=True):
        assert torch.equal(one["images"], other["images"])
        assert torch.equal(one["labels"], other["labels"])
    other_seed = next(batches_of(seed=1)(0))
    assert not torch.equal(whole[0]["images"], other_seed["images"])


def test_an_unbalanced_epoch_shows_each_cell_once(batches_of: Callable[..., LabeledBatches]) -> None:
    batches = batches_of(24, balanced=False)
    numbers = [batches._numbers(place) for place in range(0, 48, 6)]
    first, second = np.concatenate(numbers[:4]), np.concatenate(numbers[4:])
    assert sorted(first.tolist()) == list(range(24))
    assert sorted(second.tolist()) == list(range(24))
    assert first.tolist() != second.tolist()


def test_a_balanced_epoch_shows_classes_equally_often_and_members_evenly() -> None:
    labels = np.array([0] * 17 + [1] * 5 + [2] * 2)
    order = balanced_order(labels, np.random.default_rng(0))
    assert len(order) == 24
    assert np.bincount(labels[order]).tolist() == [8, 8, 8]
    times = np.bincount(order, minlength=24)
    assert set(times[:17].tolist()) == {0, 1}
    assert sorted(times[17:22].tolist()) == [1, 1, 2, 2, 2]
    assert times[22:].tolist() == [4, 4]


def test_what_cannot_be_shared_equally_differs_by_one() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    counts = np.bincount(labels[balanced_order(labels, np.random.default_rng(1))])
    assert sorted(counts.tolist()) == [2, 2, 3]


def test_labels_stay_with_their_images(batches_of: Callable[..., LabeledBatches]) -> None:
    for batch in islice(batches_of()(0), 6):
        assert batch["images"].dtype == torch.float32
        assert batch["images"].shape == (6, 3, 8, 8)
        # The brighter class is 70 gray levels above the other, and augmentation changes no color.
        assert ((batch["images"].mean(dim=(1, 2, 3)) > -0.6) == (batch["labels"] == 1)).all()


def test_without_augmentation_cells_are_seen_as_they_are(easy_cells: Callable[..., CellSet]) -> None:
    cells = easy_cells(12, size_px=8)
    preprocessing = Preprocessing(size_px=8)
    batches = LabeledBatches(cells.images, cells.labels, preprocessing, 12, False, 1, 0, augment=False)
    seen = next(batches(0))["images"].numpy()
    order = batches._numbers(0)
    np.testing.assert_array_equal(seen, preprocessing.normalize(cells.images[order]))
    moved = LabeledBatches(cells.images, cells.labels, preprocessing, 12, False, 1, 0)
    assert not np.array_equal(next(moved(0))["images"].numpy(), seen)
