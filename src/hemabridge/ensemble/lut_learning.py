"""Learning a color table (LUT) for one frozen classifier, so that it predicts what an ensemble predicts.

The classifier's weights are not changed, and no label of the source is used. The table starts as linear optimal
transport and is changed a little, so that the classifier's predictions approach those of the ensemble. It changes
colors only; every cell keeps its structure. The idea of changing the input of a frozen network instead of its weights
is that of model reprogramming (Elsayed, Goodfellow & Sohl-Dickstein 2019, arXiv:1806.11146).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
import torch
from torch import Tensor

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_objective import LutBatches, LutObjective
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.errors import InputError
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.color_table import NODES, node_colors
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.measures import whitened
from hemabridge.normalizers.normalizer import CellScale
from hemabridge.normalizers.table_normalizer import LearnedLut, as_table
from hemabridge.storage.files import atomic_write, folder_name
from hemabridge.training.config import LoopConfig
from hemabridge.training.loop import Training, fit
from hemabridge.training.run_context import RunContext
from hemabridge.training.schedules import OneCycle
from hemabridge.training.snapshots import read_snapshot
from hemabridge.training.tensorfile import Header

NAME = "learned-lut"
"""The name, in tables, of images that a learned LUT re-stained."""


class LutHeader(Header):
    """The header of a snapshot of a LUT's training; the result is the normalizer's JSON file.

    Attributes:
        config: settings of the training.
        seed: random seed of the training.
        learned_for: SHA-256 of the classifier's weights.
        seen: SHA-256 of the files that it was learned on.
    """

    kind: Literal["learned-lut"] = "learned-lut"
    config: LearnedLutConfig
    seed: int
    learned_for: str
    seen: tuple[str, ...] = ()


def learn_lut(
    config: LearnedLutConfig,
    classifier: NetworkClassifier,
    fitted: FittedEnsemble,
    source: CellSet,
    target: UInt8Images,
    context: RunContext,
) -> LearnedLut:
    """Learn a color table with which one classifier predicts what an ensemble predicts; the same call resumes.

    Args:
        config: settings of the training.
        classifier: a classifier of the target with the color view; it is not changed. Its classes are the ensemble's.
        fitted: the ensemble.
        source: cells to learn from; their labels are not read.
        target: images of the target, uint8[M, S, S, 3].
        context: the run folder, device, seed of the draws, and progress.

    Raises:
        InputError: the classifier has the shape view, or other classes than the ensemble.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    if fitted.classes != classifier.classes:
        raise InputError(
            f"expected a classifier of {', '.join(fitted.classes)}, got {classifier.name}, which predicts "
            f"{', '.join(classifier.classes)}; align it first"
        )
    return learn_lut_from(config, classifier, source, fitted.predict(source.images), target, context)


def learn_lut_from(
    config: LearnedLutConfig,
    classifier: NetworkClassifier,
    source: CellSet,
    prediction: Probabilities,
    target: UInt8Images,
    context: RunContext,
) -> LearnedLut:
    """Learn a table as `learn_lut` does, from any prediction of the source's cells.

    Args:
        config: settings of the training.
        classifier: a classifier of the target with the color view.
        source: cells to learn from; their labels are not read.
        prediction: the prediction to learn, float32[N, C], in the classifier's order of classes.
        target: images of the target, uint8[M, S, S, 3].
        context: the run folder, device, seed of the draws, and progress.

    Raises:
        InputError: the classifier has the shape view, or the prediction is not of these cells and classes.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    if not can_learn_lut(classifier):
        raise InputError(f"expected a classifier of the color view, got {classifier.name}, whose view is shape")
    if prediction.shape != (len(source), len(classifier.classes)):
        raise InputError(
            f"expected a prediction [{len(source)}, {len(classifier.classes)}], got {list(prediction.shape)}"
        )
    start = LinearTransport.fit(source.images, target)
    objective = LutObjective(config, _start(start), classifier)
    learned_for = _fingerprint(classifier)
    training = _training(config, objective, source, prediction, start, learned_for, context.seed)
    end = fit(training, context.folder, context.fabric, context.progress)[-1]
    tensors, _ = read_snapshot(end.path)
    objective.shifts.load_state_dict({"shift": tensors["shifts/shift"]})
    with torch.no_grad():
        colors = objective.shifts.cpu().table().numpy().astype(np.float64)
    nodes = colors.transpose(3, 2, 1, 0).reshape(-1, 3) * 255
    return LearnedLut(
        source_glass=start.source_glass,
        target_white=start.target_white,
        table=as_table(nodes),
        learned_for=learned_for,
    )


def learn_luts(
    config: LearnedLutConfig | None,
    classifiers: Mapping[str, Classifier],
    fitted: FittedEnsemble,
    source: CellSet,
    target: UInt8Images,
    context: RunContext,
) -> list[str]:
    """Learn a table for each suitable classifier, and write it as JSON; return the names of these classifiers.

    The file is `learned-lut-NAME.json` in the context's folder, beside the run folder `learned-lut-NAME`.

    Args:
        config: settings of the training; None for no table at all.
        classifiers: of the target, by name.
        fitted: the ensemble.
        source: cells to learn from; their labels are not read.
        target: images of the target, uint8[M, S, S, 3].
        context: the folder of the ensemble, device, seed of the draws, and progress.

    Raises:
        See `learn_lut`.
    """
    able = {name: each for name, each in classifiers.items() if can_learn_lut(each)}
    if config is None or not able:
        return []
    prediction = fitted.predict(source.images)
    cells = CellScale(source_crop_px=source.crop_px, size_px=source.images.shape[1])
    for name, classifier in able.items():
        path = lut_file(context.folder, name)
        own = context.within(path.stem, f"color table for {name}")
        table = learn_lut_from(config, classifier, source, prediction, target, own)
        with atomic_write(path) as temporary:
            temporary.write_text(table.of_photographs(cells).to_json(), encoding="utf-8")
    return list(able)


def lut_file(folder: Path, classifier: str) -> Path:
    """Return the file of the table for a classifier."""
    return folder / f"{NAME}-{folder_name(classifier)}.json"


def _training(
    config: LearnedLutConfig,
    objective: LutObjective,
    source: CellSet,
    prediction: Probabilities,
    start: LinearTransport,
    learned_for: str,
    seed: int,
) -> Training:
    probabilities, weights = pseudo_labels(prediction, min_confidence=0.0)
    size_px = objective.size_px
    images = np.stack(
        [
            resize_square(whitened(image, start.measure(image).white, start.target_white), size_px)
            for image in source.images
        ]
    )
    described = {"config": config.model_dump(mode="json"), "seed": seed, "learned_for": learned_for}
    return Training(
        objective=objective,
        batches=LutBatches(images, probabilities, weights, config.batch_size, seed),
        schedules={"shifts": OneCycle(config.learning_rate, config.images)},
        loop=LoopConfig(
            total_images=config.images, batch_size=config.batch_size, epoch_images=config.images, seed=seed
        ),
        identity={**described, "cells": list(source.hashes), "prediction": prediction.round(4).tolist()},
        about=LutHeader(config=config, seed=seed, learned_for=learned_for, seen=tuple(sorted({*source.hashes}))),
    )


def can_learn_lut(classifier: Classifier) -> TypeGuard[NetworkClassifier]:
    """Return whether a classifier is a network, so that it has gradients, and has the color view."""
    return isinstance(classifier, NetworkClassifier) and classifier.preprocessing.view == "color"


def _fingerprint(classifier: NetworkClassifier) -> str:
    """Return the SHA-256 of its weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()


def _start(linear: LinearTransport) -> Tensor:
    """Return the map as a table, float[3, NODES, NODES, NODES] in 0..1: channel, then blue, green, red."""
    colors = np.clip(linear.moved(node_colors()), 0, 255)
    nodes = colors.reshape(NODES, NODES, NODES, 3).transpose(3, 2, 1, 0) / 255
    return torch.from_numpy(np.ascontiguousarray(nodes, np.float32))
