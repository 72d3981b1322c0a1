import copy
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.functional import cross_entropy

from hemabridge.classifiers.classifier_objective import ClassifierObjective, LabeledBatches, balanced_order
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import CellSet
from hemabridge.losses.formulas import focal_loss
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.schedules import OneCycle


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


ARCHITECTURE, SIZE_PX = "test_efficientnet", 32


def a_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"images": torch.rand(8, 3, SIZE_PX, SIZE_PX, generator=generator), "labels": torch.arange(8) % 2}


def test_a_frozen_body_keeps_weights_and_statistics_and_then_learns(cpu: Fabric) -> None:
    torch.manual_seed(0)
    objective = ClassifierObjective(new_network(ARCHITECTURE, SIZE_PX, 2), ClassifierConfig())
    schedules = {"body": OneCycle(1e-3, 80, start_images=16), "head": OneCycle(1e-3, 80)}
    engine = Engine(cpu, objective, OptimizerConfig(weight_decay=0.01), schedules)
    body, head = copy.deepcopy(objective.nets["body"].state_dict()), objective.network.head.weight.clone()

    def moved() -> list[str]:
        return [
            key for key, tensor in objective.nets["body"].state_dict().items() if not torch.equal(tensor, body[key])
        ]

    for images in (0, 8):
        engine.step(a_batch(), images)
    assert moved() == []
    assert not torch.equal(objective.network.head.weight, head)
    engine.step(a_batch(), 16)
    assert "conv_stem.weight" in moved()
    assert any(key.endswith("running_mean") for key in moved())


def test_losses_are_the_ones_of_the_config() -> None:
    torch.manual_seed(0)
    network = new_network(ARCHITECTURE, SIZE_PX, 2)
    for config in (ClassifierConfig(), ClassifierConfig(loss="focal", focal_gamma=1.5)):
        objective = ClassifierObjective(network, config)
        logits, labels = objective.forward(a_batch())
        terms = objective.phases[0].losses((logits, labels))
        expected = cross_entropy(logits, labels) if config.loss == "cross_entropy" else focal_loss(logits, labels, 1.5)
        assert list(terms) == [config.loss]
        torch.testing.assert_close(terms[config.loss], expected)


def test_frozen_batch_norm_keeps_its_statistics_while_all_weights_learn(cpu: Fabric) -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(frozen_batch_norm=True)
    objective = ClassifierObjective(new_network(ARCHITECTURE, SIZE_PX, 2), config)
    schedules = {name: OneCycle(1e-3, 80) for name in ("body", "head")}
    engine = Engine(cpu, objective, OptimizerConfig(weight_decay=0.01), schedules)
    before = copy.deepcopy(objective.nets["body"].state_dict())
    for images in (0, 8):
        engine.step(a_batch(), images)
    moved = [k for k, tensor in objective.nets["body"].state_dict().items() if not torch.equal(tensor, before[k])]
    assert "conv_stem.weight" in moved
    assert not [key for key in moved if "running" in key or "num_batches" in key]
