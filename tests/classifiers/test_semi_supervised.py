from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.classifier_objective import LabeledBatches
from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.classifiers.semi_supervised import (
    PseudoLabeledCells,
    SemiSupervisedBatches,
    fine_tune_semi_supervised,
)
from hemabridge.data.cells import CellSet
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.errors import InputError
from hemabridge.models import open_model
from hemabridge.training.tensorfile import read_header

SMALL = ClassifierConfig(architecture="test_resnet", size_px=32, epochs=4, learning_rate=3e-3, batch_size=8)


@pytest.fixture(scope="module")
def start(
    easy_cells: Callable[..., CellSet], cpu: Fabric, tmp_path_factory: pytest.TempPathFactory
) -> SnapshotClassifier:
    return open_model(fine_tune(SMALL, easy_cells(), tmp_path_factory.mktemp("start"), cpu, seed=0)).classifier


def inverted(cells: CellSet) -> PseudoLabeledCells:
    """Return the cells as another site's, whose bright cells are the target's dark ones."""
    views = np.stack([255 - cells.images, 250 - cells.images])
    probabilities = np.eye(2, dtype=np.float32)[cells.labels]
    return PseudoLabeledCells(views, probabilities, np.ones(len(cells)), cells.hashes)


def test_the_classes_of_the_source_are_learned_and_all_is_repeatable(
    easy_cells: Callable[..., CellSet], start: SnapshotClassifier, cpu: Fabric, tmp_path: Path
) -> None:
    target, theirs = easy_cells(), easy_cells(seed=1)
    source = inverted(theirs)
    before = start.probabilities(source.views[0]).argmax(axis=1)

    def learned(images: int, name: str) -> Probabilities:
        config = SemiSupervisedConfig(images=images, batch_size=24, learning_rate=3e-3)
        snapshot = fine_tune_semi_supervised(config, start, target, source, tmp_path / name, cpu, seed=0)
        header = ClassifierHeader.of(read_header(snapshot), snapshot)
        assert [profile.crop_px for profile in header.profiles] == [32, None, None]  # the target, and each view
        assert header.cell_px == target.images.shape[1]
        return open_model(snapshot).classifier.probabilities(source.views[0])

    right_before = (before == theirs.labels).mean()
    assert (learned(480, "long").argmax(axis=1) == theirs.labels).mean() > max(0.7, right_before + 0.2)
    np.testing.assert_array_equal(learned(48, "one"), learned(48, "two"))


def test_a_mirrored_one_predicts_by_the_mean_over_four_views(
    easy_cells: Callable[..., CellSet], start: SnapshotClassifier, cpu: Fabric, tmp_path: Path
) -> None:
    cells, config = easy_cells(), SemiSupervisedConfig(images=24, batch_size=24)
    source = inverted(cells)
    plain, mirrored = (
        open_model(
            fine_tune_semi_supervised(config, start, cells, source, tmp_path / str(views), cpu, seed=0, mirrored=views)
        ).classifier
        for views in (False, True)
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    views = (images, images[:, :, ::-1], images[:, ::-1], images.transpose(0, 2, 1, 3))
    found = [plain.probabilities(view) for view in views]
    np.testing.assert_allclose(mirrored.probabilities(images), np.mean(found, axis=0), atol=1e-6)
    assert np.abs(mirrored.probabilities(images) - found[0]).max() > 1e-4  # the views differ


def test_cells_without_weight_are_never_shown(easy_cells: Callable[..., CellSet]) -> None:
    cells = easy_cells(12)
    preprocessing = Preprocessing(size_px=32)
    own = LabeledBatches(cells.images, cells.labels, preprocessing, 4, True, 0, 0)
    probabilities = np.tile(np.array([[0.25, 0.75]], np.float32), (12, 1))
    probabilities[3] = [1.0, 0.0]
    weights = np.zeros(12)
    weights[3] = 2.0
    source = PseudoLabeledCells(cells.images[None], probabilities, weights, cells.hashes)
    batches = SemiSupervisedBatches(own, source, StainAugmentationConfig(), 0)
    for batch in islice(batches(0), 3):
        assert batch["images"].shape == (8, 3, 32, 32)
        assert batch["labels"][4:].tolist() == [[1.0, 0.0]] * 4
        assert set(batch["labels"][:4].flatten().tolist()) == {0.0, 1.0}
    later = next(batches(8))
    second = list(islice(batches(0), 2))[1]
    assert torch.equal(later["images"], second["images"])


def test_nothing_to_draw_and_other_classes_are_refused(
    easy_cells: Callable[..., CellSet], start: SnapshotClassifier, cpu: Fabric, tmp_path: Path
) -> None:
    cells = easy_cells()
    nothing = PseudoLabeledCells(
        cells.images[None], np.eye(2, dtype=np.float32)[cells.labels], np.zeros(48), cells.hashes
    )
    with pytest.raises(InputError, match="at least one cell of the source"):
        fine_tune_semi_supervised(SemiSupervisedConfig(), start, cells, nothing, tmp_path, cpu, seed=0)
    narrow = PseudoLabeledCells(cells.images[None], np.ones((48, 3), np.float32) / 3, np.ones(48), cells.hashes)
    with pytest.raises(InputError, match="expected cells of the classes"):
        fine_tune_semi_supervised(SemiSupervisedConfig(), start, cells, narrow, tmp_path, cpu, seed=0)
