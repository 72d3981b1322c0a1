"""Learning a color table (LUT) for one frozen classifier, so that it predicts what an ensemble predicts.

The classifier's weights stay as they are, and no label of the source is used. The table starts as linear optimal
transport and moves a little, so that the classifier's predictions come near to the ensemble's. It changes colors alone;
every cell keeps its structure. The idea of changing the input of a frozen network instead of its weights is that of
model reprogramming (Elsayed, Goodfellow & Sohl-Dickstein 2019, arXiv:1806.11146).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, interpolate

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.augmentation import dihedral
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_header import LutHeader
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.errors import InputError
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.color_table import NODES, node_colors
from hemabridge.normalizers.learned_lut import LearnedLut
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.measures import whitened
from hemabridge.normalizers.normalizer import CellScale
from hemabridge.normalizers.sliced_transport import as_table
from hemabridge.storage.files import atomic_write
from hemabridge.storage.names import folder_name
from hemabridge.training.config import LoopConfig
from hemabridge.training.loop import Training, fit
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.training.run_context import RunContext
from hemabridge.training.schedules import OneCycle
from hemabridge.training.snapshots import read_snapshot

NAME = "learned-lut"
"""What tables call images that a learned LUT re-stained."""


class Shifts(nn.Module):
    """What is added to the nodes of a color table, as shares of 0..255; zero at the start.

    Args:
        start: the table's colors, float[3, NODES, NODES, NODES] in 0..1: channel, then blue, green, red.
        points: nodes along each axis of the shift, which is trilinear between them.
    """

    def __init__(self, start: Tensor, points: int) -> None:
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.shift = nn.Parameter(torch.zeros(3, points, points, points))

    def table(self) -> Tensor:
        """Return the moved table, float[3, NODES, NODES, NODES]; it may leave 0..1."""
        moved = interpolate(self.shift[None], size=[NODES] * 3, mode="trilinear", align_corners=True)[0]
        return self.get_buffer("start") + moved

    def forward(self, images: Tensor) -> Tensor:
        """Return float[B, 3, H, W] in 0..1 with every color of float[B, 3, H, W] in 0..1 looked up."""
        places = (images * 2 - 1).permute(0, 2, 3, 1).unsqueeze(1)
        table = self.table()[None].expand(len(images), -1, -1, -1, -1)
        return grid_sample(table, places, padding_mode="border", align_corners=True).squeeze(2).clamp(0, 1)


class LutObjective:
    """One phase that trains the shifts; the classifier is frozen and is none of the trained nets.

    Batches hold `images`, float[B, 3, S, S] in 0..1 with the target's white point, and `probabilities`, float[B, C].
    """

    def __init__(self, config: LearnedLutConfig, start: Tensor, classifier: NetworkClassifier) -> None:
        self.config, self.shifts = config, Shifts(start, config.points)
        self.network, self.size_px = classifier.network, classifier.preprocessing.size_px
        mean, std = classifier.preprocessing.mean, classifier.preprocessing.std
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        self.nets: dict[str, nn.Module] = {"shifts": self.shifts}
        self.phases = (Phase("table", ("shifts",), self._losses),)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the classifier's logits, float[B, C], and the probabilities that it should predict, float[B, C]."""
        images = batch["images"]
        self.network.to(images.device)
        restained = self.shifts(images)
        logits: Tensor = self.network((restained - self.mean.to(images)) / self.std.to(images))
        return logits, batch["probabilities"]

    def _losses(self, predictions: tuple[Tensor, Tensor]) -> Terms:
        shift = self.shifts.shift
        rough = torch.stack([shift.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()
        return {
            "predictions": cross_entropy(*predictions),
            "smoothness": self.config.smoothness * rough,
            "nearness": self.config.nearness * shift.square().mean(),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: all state is in the net."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""


@dataclass(frozen=True, eq=False)
class _Batches:
    """Cells of the source, each class drawn equally often, turned and mirrored."""

    images: UInt8Images
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float64]
    batch_size: int
    seed: int

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches after `images` images, without end."""
        chances = self.weights / self.weights.sum()
        while True:
            rng = np.random.default_rng((self.seed, images))
            cells = rng.choice(len(chances), self.batch_size, p=chances)
            turned = dihedral(self.images[cells], rng).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            yield {"images": torch.from_numpy(turned), "probabilities": torch.from_numpy(self.probabilities[cells])}
            images += self.batch_size


def learn_lut(
    config: LearnedLutConfig,
    classifier: NetworkClassifier,
    fitted: FittedEnsemble,
    source: CellSet,
    target: UInt8Images,
    context: RunContext,
) -> LearnedLut:
    """Learn, or go on learning, a table with which one classifier predicts what an ensemble predicts.

    Args:
        config: see there.
        classifier: of the target, which sees color; it stays as it is. Its classes are those of the ensemble.
        fitted: the ensemble.
        source: cells to learn from; their labels are not read.
        target: images of the target, uint8[M, S, S, 3].
        context: the run folder, device, seed of the draws, and progress.

    Raises:
        InputError: the classifier sees no color, or has other classes than the ensemble.
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
        config: see there.
        classifier: of the target, which sees color.
        source: cells to learn from; their labels are not read.
        prediction: what the classifier should predict, float32[N, C], in its order of classes.
        target: images of the target, uint8[M, S, S, 3].
        context: the run folder, device, seed of the draws, and progress.

    Raises:
        InputError: the classifier sees no color, or the prediction is not of these cells and classes.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    if not can_learn_lut(classifier):
        raise InputError(f"expected a classifier that sees color, got {classifier.name}, which sees shape alone")
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
    """Learn a table for each classifier that can have one, and write it as JSON; return the classifiers' names.

    It is `learned-lut-NAME.json` in the context's folder, beside the run folder `learned-lut-NAME`.

    Args:
        config: see there; None for no table at all.
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
    """Return where the table for a classifier is written."""
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
        batches=_Batches(images, probabilities, weights, config.batch_size, seed),
        schedules={"shifts": OneCycle(config.learning_rate, config.images)},
        loop=LoopConfig(
            total_images=config.images, batch_size=config.batch_size, epoch_images=config.images, seed=seed
        ),
        identity={**described, "cells": list(source.hashes), "prediction": prediction.round(4).tolist()},
        about=LutHeader(config=config, seed=seed, learned_for=learned_for, seen=tuple(sorted({*source.hashes}))),
    )


def can_learn_lut(classifier: Classifier) -> TypeGuard[NetworkClassifier]:
    """Return whether it is a network that sees color, and so has gradients to follow."""
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
