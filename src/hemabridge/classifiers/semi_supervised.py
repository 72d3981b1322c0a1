"""Semi-supervised fine-tuning: labeled cells of the target, and cells of the source with pseudo-labels."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.classifier_objective import ClassifierObjective, LabeledBatches
from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import CellSet
from hemabridge.data.stain_augmentation import StainAugmentationConfig, stain_augmented
from hemabridge.domain.site_profile import profile_of
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.progress import Progress, silent
from hemabridge.training.config import LoopConfig, OptimizerConfig
from hemabridge.training.loop import Training, fit
from hemabridge.training.objective import Batch
from hemabridge.training.schedules import OneCycle


@dataclass(frozen=True, eq=False)
class PseudoLabeledCells:
    """Cells of the source, and their labels or pseudo-labels.

    Attributes:
        views: the same cells in one or several re-stainings, uint8[V, N, S, S, 3], RGB.
        probabilities: float32[N, C], of each class; rows sum to 1. The class of a labeled cell has probability 1.
        weights: float64[N], how often a cell is drawn, relative to the others; 0 for never.
        hashes: SHA-256 of each cell's file.
    """

    views: UInt8Images
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float64]
    hashes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SemiSupervisedBatches:
    """Batches with the target in the first half; `images` float32[B, 3, S, S], `labels` probabilities float32[B, C]."""

    target: LabeledBatches
    source: PseudoLabeledCells
    stain_augmentation: StainAugmentationConfig
    seed: int

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches that follow the first `images` images of a training, without end."""
        half = self.target.batch_size
        own = self.target(images // 2)
        chances = self.source.weights / self.source.weights.sum()
        classes = self.source.probabilities.shape[1]
        while True:
            batch, rng = next(own), np.random.default_rng((self.seed, images, 1))
            cells = rng.choice(len(chances), half, p=chances)
            views = rng.integers(len(self.source.views), size=half)
            seen = stain_augmented(self.source.views[views, cells], self.stain_augmentation, rng)
            of_source = torch.from_numpy(np.ascontiguousarray(self.target.preprocessing.normalize(seen)))
            labels = torch.nn.functional.one_hot(batch["labels"], classes).float()
            yield {
                "images": torch.cat([batch["images"], of_source]),
                "labels": torch.cat([labels, torch.from_numpy(self.source.probabilities[cells])]),
            }
            images += 2 * half


def fine_tune_semi_supervised(
    config: SemiSupervisedConfig,
    start: SnapshotClassifier,
    target: CellSet,
    source: PseudoLabeledCells,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    mirrored: bool = False,
    progress: Progress = silent,
) -> Path:
    """Train the classifier `start` further, with cross-entropy; return the last snapshot.

    Cells of the source get the same augmentation of color, size and place as those of the target. No blur is added to
    them, since their own optics have blurred them already.

    Args:
        config: length and learning rate.
        start: a result of `fine_tune`, or of this function.
        target: labeled cells, half of each batch.
        source: the other half.
        folder: run folder.
        fabric: device, precision and processes.
        seed: of draws and augmentation.
        mirrored: whether the result predicts by the mean over four views of each image.
        progress: called after each step.

    Raises:
        InputError: all weights of the source's cells are 0, or the classes differ.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    network, preprocessing = start.new_network(), start.header.preprocessing
    classes, before = start.header.classes, start.header.config
    _check(classes, target, source)
    torch.manual_seed(seed)
    config_now = before.model_copy(update={"loss": "cross_entropy"})
    described = config_now.model_dump(mode="json")
    identity = {"config": described, "semi_supervised": config.model_dump(), "seed": seed, "start": start.sha256}
    cells_sha256 = _digest(target, source)
    training = Training(
        objective=ClassifierObjective(network, config_now),
        batches=_batches(config, config_now, target, source, preprocessing, seed),
        schedules=dict.fromkeys(("body", "head"), OneCycle(config.learning_rate, config.images)),
        loop=_loop(config, before.weight_decay, seed),
        identity=identity | {"cells_sha256": cells_sha256},
        about=ClassifierHeader(
            config=config_now,
            preprocessing=preprocessing,
            classes=classes,
            learning_rate=config.learning_rate,
            seed=seed,
            cells_sha256=cells_sha256,
            start=str(identity["start"]),
            semi_supervised=config.model_dump(),
            mirrored=mirrored,
            **_seen(target, source),
        ),
    )
    return fit(training, folder, fabric, progress)[-1].path


def _loop(config: SemiSupervisedConfig, weight_decay: float, seed: int) -> LoopConfig:
    return LoopConfig(
        total_images=config.images,
        batch_size=config.batch_size,
        epoch_images=config.images,
        seed=seed,
        optimizer=OptimizerConfig(weight_decay=weight_decay),
    )


def _seen(target: CellSet, source: PseudoLabeledCells) -> dict[str, Any]:
    """Return the fields of the header that describe the cells."""
    profiles = [profile_of(target.images, target.crop_px), *map(profile_of, source.views)]
    return {
        "crop_px": target.crop_px,
        "cell_px": target.images.shape[1],
        "profiles": tuple(profile for profile in profiles if profile is not None),
        "seen": tuple(sorted({*target.hashes, *source.hashes})),
    }


def _check(classes: tuple[str, ...], target: CellSet, source: PseudoLabeledCells) -> None:
    if classes != target.classes or source.probabilities.shape != (source.views.shape[1], len(classes)):
        raise InputError(
            f"expected cells of the classes {classes}, got {target.classes} and {source.probabilities.shape}"
        )
    if not source.weights.sum() > 0:
        raise InputError("expected at least one cell of the source to train on, got weights of 0 alone")


def _digest(target: CellSet, source: PseudoLabeledCells) -> str:
    """Return the SHA-256 of all that is trained on."""
    digest = hashlib.sha256(source.views.tobytes())
    for array in (source.probabilities, source.weights, target.images, target.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _batches(
    config: SemiSupervisedConfig,
    classifier: ClassifierConfig,
    target: CellSet,
    source: PseudoLabeledCells,
    preprocessing: Preprocessing,
    seed: int,
) -> SemiSupervisedBatches:
    own = LabeledBatches(
        images=preprocessing.prepare(target.images),
        labels=target.labels,
        preprocessing=preprocessing,
        batch_size=config.batch_size // 2,
        balanced=True,
        shift_px=classifier.shift_px,
        seed=seed,
        stain_augmentation=classifier.stain_augmentation,
    )
    views = np.stack([preprocessing.prepare(view) for view in source.views])
    stain_augmentation = classifier.stain_augmentation or StainAugmentationConfig(stain=0.0, blur=0.0, noise=0.0)
    unblurred = stain_augmentation.model_copy(update={"blurred": 0.0})
    return SemiSupervisedBatches(own, replace(source, views=views), unblurred, seed)
