"""Training a classifier on the cells of one site."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from hemabridge.classifiers.classifier import NetworkClassifier, SnapshotClassifier, rebuilt
from hemabridge.classifiers.classifier_objective import ClassifierObjective, LabeledBatches
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.network import (
    ClassifierNetwork,
    StartWeights,
    load_start,
    new_network,
    preprocessing_of,
)
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import UNKNOWN, CellSet, joined
from hemabridge.domain.site_profile import profile_of
from hemabridge.errors import InputError, ModelError, RunError
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.progress import Progress, silent
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.training.config import LoopConfig, OptimizerConfig
from hemabridge.training.events import EventLog
from hemabridge.training.loop import OnSnapshot, Training, fit
from hemabridge.training.lr_range_test import lr_range_test
from hemabridge.training.schedules import OneCycle
from hemabridge.training.snapshots import Snapshot

RANGE_TEST_FILE = "lr_range_test.json"
_RANGE_TEST: Final = FileKind("a learning-rate range test", RunError)


@dataclass(frozen=True)
class _Beginning:
    """A network before its training, and the origin of its initial weights; None for random ones."""

    network: ClassifierNetwork
    preprocessing: Preprocessing
    weights: StartWeights | None

    @property
    def weights_sha256(self) -> str | None:
        return None if self.weights is None else self.weights.sha256


def fine_tune(
    config: ClassifierConfig,
    cells: CellSet,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    further: Sequence[CellSet] = (),
    validation: CellSet | None = None,
    start: SnapshotClassifier | None = None,
    progress: Progress = silent,
) -> Path:
    """Train a classifier of `cells.classes`, or resume its training; return its last snapshot.

    Augmentation turns, mirrors and shifts cells. It changes no color unless `config.stain_augmentation` is given. The
    learning-rate range test is written to `folder/lr_range_test.json`.

    Args:
        config: the network and its training.
        cells: labeled cells of one site, uint8[N, S, S, 3], RGB.
        folder: run folder.
        fabric: device, precision and processes.
        seed: of initial weights, batches and augmentation.
        further: labeled cells of other hospitals, shown too, together at most about as often as `cells`.
        validation: cells; the balanced accuracy on them is written to `events.jsonl` at the end, and selects nothing.
        start: a result of this function whose weights are taken instead of `config.weights`; its preprocessing is
            kept.
        progress: called after each step.

    Raises:
        InputError: a cell has no label, or a class has no cell.
        ModelError: the weights, or `start`, cannot be used.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    sites = (cells, *further)
    cells = joined(cells, further)
    _check_labels(cells)
    torch.manual_seed(seed)
    beginning = _begin(config, cells, start, progress)
    identity = _identity(config, cells, beginning, seed)
    objective = ClassifierObjective(beginning.network, config)
    batches = _batches(config, cells, beginning.preprocessing, seed)
    rate = config.learning_rate or _find_rate(objective, batches, identity, config, folder, fabric, progress)

    about = _header(config, sites, cells, beginning, rate, seed, identity["cells_sha256"])
    training = Training(
        objective=objective,
        batches=batches,
        schedules=_schedules(config, config.epoch_images or len(cells), rate),
        loop=_loop_config(config, config.epoch_images or len(cells), seed),
        identity=identity,
        about=about,
        on_snapshot=None if validation is None else _validated(about, validation, EventLog(folder / "events.jsonl")),
    )
    return fit(training, folder, fabric, progress)[-1].path


def _batches(config: ClassifierConfig, cells: CellSet, preprocessing: Preprocessing, seed: int) -> LabeledBatches:
    return LabeledBatches(
        images=preprocessing.prepare(cells.images),
        labels=cells.labels,
        preprocessing=preprocessing,
        batch_size=config.batch_size,
        balanced=config.balanced,
        shift_px=config.shift_px,
        seed=seed,
        stain_augmentation=config.stain_augmentation,
        augment=config.augment,
    )


def _schedules(config: ClassifierConfig, epoch_images: int, rate: float) -> dict[str, OneCycle]:
    total = config.epochs * epoch_images
    return {
        "body": OneCycle(rate, total, start_images=config.frozen_epochs * epoch_images),
        "head": OneCycle(rate, total),
    }


def _loop_config(config: ClassifierConfig, epoch_images: int, seed: int) -> LoopConfig:
    return LoopConfig(
        total_images=config.epochs * epoch_images,
        batch_size=config.batch_size,
        epoch_images=epoch_images,
        seed=seed,
        optimizer=OptimizerConfig(weight_decay=config.weight_decay),
    )


def _header(
    config: ClassifierConfig,
    sites: Sequence[CellSet],
    cells: CellSet,
    beginning: _Beginning,
    rate: float,
    seed: int,
    cells_sha256: str,
) -> ClassifierHeader:
    profiles = (profile_of(site.images, site.crop_px) for site in sites)
    return ClassifierHeader(
        config=config,
        preprocessing=beginning.preprocessing,
        classes=cells.classes,
        crop_px=cells.crop_px,
        cell_px=cells.images.shape[1],
        profiles=tuple(profile for profile in profiles if profile is not None),
        learning_rate=rate,
        seed=seed,
        seen=tuple(sorted(set(cells.hashes))),
        cells_sha256=cells_sha256,
        weights_sha256=beginning.weights_sha256,
        weights_origin=None if beginning.weights is None else beginning.weights.origin,
    )


def _check_labels(cells: CellSet) -> None:
    unlabeled = int(np.count_nonzero(cells.labels == UNKNOWN))
    if unlabeled:
        raise InputError(f"expected a class for every cell to train on, got {unlabeled} cells without; leave them out")
    counts = np.bincount(cells.labels, minlength=len(cells.classes))
    found = dict(zip(cells.classes, counts.tolist(), strict=True))
    if len(found) < 2 or 0 in found.values():
        raise InputError(
            f"expected cells of at least two classes to train on, and of each of them, got {found}; "
            "add cells, or leave out the classes without any"
        )


def _begin(
    config: ClassifierConfig, cells: CellSet, start: SnapshotClassifier | None, progress: Progress
) -> _Beginning:
    if start is not None:
        before, classes = start.header.config, start.header.classes
        network = start.new_network()
        if (before.architecture, before.norm, classes) != (config.architecture, config.norm, cells.classes):
            raise ModelError(
                f"expected {config.architecture} of {', '.join(cells.classes)} to start from, got "
                f"{before.architecture} of {', '.join(classes)}: {start.path}"
            )
        return _Beginning(network, start.header.preprocessing, StartWeights(start.sha256))
    network = new_network(config.architecture, config.size_px, len(cells.classes), config.norm)
    weights = None if config.weights is None else load_start(network, config.architecture, config.weights, progress)
    return _Beginning(network, preprocessing_of(config), weights)


def _identity(config: ClassifierConfig, cells: CellSet, beginning: _Beginning, seed: int) -> dict[str, Any]:
    described = config.without_folder().described()
    content = hashlib.sha256(cells.images.tobytes())
    content.update(cells.labels.tobytes())
    return {
        "config": described,
        "seed": seed,
        "cells_sha256": content.hexdigest(),
        "weights_sha256": beginning.weights_sha256,
    }


def _find_rate(
    objective: ClassifierObjective,
    batches: LabeledBatches,
    identity: dict[str, Any],
    config: ClassifierConfig,
    folder: Path,
    fabric: Fabric,
    progress: Progress,
) -> float:
    path = folder / RANGE_TEST_FILE
    if path.is_file():
        kept = _kept_rate(path, identity)
        if kept is not None:
            return kept
    optimizer = OptimizerConfig(weight_decay=config.weight_decay)
    found = lr_range_test(objective, batches(0), fabric, optimizer, seed=batches.seed, progress=progress)
    if fabric.global_rank == 0:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"identity": identity, **asdict(found)}, indent=1), encoding="utf-8")
    return found.suggestion


def _kept_rate(path: Path, identity: dict[str, Any]) -> float | None:
    """Return the learning rate that was found for the same training; None for another one, or a damaged file."""
    try:
        kept = _RANGE_TEST.read_object(path)
    except RunError:
        return None
    rate = kept.get("suggestion")
    fits = kept.get("identity") == identity and isinstance(rate, float) and rate > 0
    return rate if fits else None


def _validated(about: ClassifierHeader, cells: CellSet, events: EventLog) -> OnSnapshot:
    """Return a function that writes the balanced accuracy of a snapshot's weights on cells to the events."""

    def validate(snapshot: Snapshot, weights: Mapping[str, Tensor]) -> None:
        network = rebuilt(weights, about, snapshot.path.name)
        classifier = NetworkClassifier(network, about.preprocessing, about.classes, about.config.architecture)
        predicted = classifier.probabilities(cells.images).argmax(axis=1)
        found = balanced_accuracy(cells.labels, predicted, len(cells.classes))
        events.append("validation", snapshot.images, n=len(cells), balanced_accuracy=found)

    return validate
