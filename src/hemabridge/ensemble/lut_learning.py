"""Teaching a color table for one classifier: it should say of re-stained cells what many agree on.

The classifier learns nothing, and no label of the source is used. The table starts as the linear optimal transport
and moves a little, so that the classifier's answers come near to those of classifiers that agree. It can change colors
alone; every cell keeps its structure. The idea of changing the input of a frozen network instead of its weights is
that of model reprogramming (Elsayed, Goodfellow & Sohl-Dickstein 2019, arXiv:1806.11146).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, interpolate

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.augmentation import dihedral
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.errors import InputError
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.learned_lut import LearnedLut
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.measures import whitened
from hemabridge.normalizers.sliced_transport import NODES, as_table, node_colors
from hemabridge.progress import Progress, silent
from hemabridge.training.config import LoopConfig
from hemabridge.training.loop import Training, fit
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.training.schedules import OneCycle
from hemabridge.training.snapshots import read_snapshot

NAME = "learned-lut"


class LearnedLutConfig(BaseModel):
    """How long and how far a table is moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(3840, ge=24, description="images to learn from")
    batch_size: int = Field(24, ge=1)
    learning_rate: float = Field(0.004, gt=0, description="about the share of 0..255 that a node moves in a step")
    points: int = Field(5, ge=2, le=NODES, description="nodes along each of red, green and blue that move freely")
    smoothness: float = Field(64.0, ge=0, description="weight of squared steps of the shift between neighbors")
    nearness: float = Field(3.0, ge=0, description="weight of the squared shift, as a share of 0..255")


class Shifts(nn.Module):
    """What is added to the nodes of a color table, as shares of 0..255; it starts at nothing.

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


class TableObjective:
    """One phase that trains the shifts; the classifier is frozen and no net of the training.

    Batches hold `images`, float[B, 3, S, S] in 0..1 with the target's white point, and `shares`, float[B, C].
    """

    def __init__(self, config: LearnedLutConfig, start: Tensor, classifier: NetworkClassifier) -> None:
        self.config, self.shifts = config, Shifts(start, config.points)
        self.network = classifier.network
        mean, std = classifier.preprocessing.mean, classifier.preprocessing.std
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        self.nets: dict[str, nn.Module] = {"shifts": self.shifts}
        self.phases = (Phase("teach", ("shifts",), self._losses),)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what the classifier says, logits float[B, C], and what it should say."""
        images = batch["images"]
        self.network.to(images.device)
        restained = self.shifts(images)
        logits: Tensor = self.network((restained - self.mean.to(images)) / self.std.to(images))
        return logits, batch["shares"]

    def _losses(self, answers: tuple[Tensor, Tensor]) -> Terms:
        shift = self.shifts.shift
        rough = torch.stack([shift.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()
        return {
            "answers": cross_entropy(*answers),
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
    shares: NDArray[np.float32]
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
            yield {"images": torch.from_numpy(turned), "shares": torch.from_numpy(self.shares[cells])}
            images += self.batch_size


def teach(
    config: LearnedLutConfig,
    classifier: NetworkClassifier,
    source: CellSet,
    answer: Probabilities,
    target: UInt8Images,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    progress: Progress = silent,
) -> LearnedLut:
    """Teach, or go on teaching, a table for one classifier.

    Args:
        config: see there.
        classifier: of the target, which sees color; it stays as it is.
        source: cells; their labels are not read.
        answer: what it should say of them, float32[N, C], in the classifier's order of classes.
        target: images of the target, uint8[M, S, S, 3].
        folder: the run folder.
        fabric: device, precision and processes.
        seed: of the draws.
        progress: called after each step.

    Raises:
        InputError: the classifier sees no color, or the answers are not those of these cells and classes.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    if not can_learn_lut(classifier):
        raise InputError(f"expected a classifier that sees color, got {classifier.name}, which sees shape alone")
    if answer.shape != (len(source), len(classifier.classes)):
        raise InputError(f"expected answers [{len(source)}, {len(classifier.classes)}], got {list(answer.shape)}")
    start = LinearTransport.fit(source.images, target)
    objective = TableObjective(config, _start(start), classifier)
    shares, weights = pseudo_labels(answer, sure=0.0)
    size_px = classifier.preprocessing.size_px
    images = np.stack([resize_square(whitened(image, start.target_white), size_px) for image in source.images])
    learned_for = _fingerprint(classifier)
    described = {"config": config.model_dump(mode="json"), "seed": seed, "learned_for": learned_for}
    training = Training(
        objective=objective,
        batches=_Batches(images, shares, weights, config.batch_size, seed),
        schedules={"shifts": OneCycle(config.learning_rate, config.images)},
        loop=LoopConfig(
            total_images=config.images, batch_size=config.batch_size, epoch_images=config.images, seed=seed
        ),
        identity={**described, "cells": list(source.hashes), "answer": answer.round(4).tolist()},
        about={"kind": NAME, **described, "seen": sorted({*source.hashes})},
    )
    end = fit(training, folder, fabric, progress)[-1]
    tensors, _ = read_snapshot(end.path)
    objective.shifts.load_state_dict({"shift": tensors["shifts/shift"]})
    with torch.no_grad():
        colors = objective.shifts.cpu().table().numpy().astype(np.float64)
    nodes = colors.transpose(3, 2, 1, 0).reshape(-1, 3) * 255
    return LearnedLut(target_white=start.target_white, table=as_table(nodes), learned_for=learned_for)


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
