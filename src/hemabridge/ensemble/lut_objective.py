"""The training of a learned color LUT: the table that is trained, its losses, and its batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, interpolate

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.data.augmentation import dihedral
from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.color_table import NODES
from hemabridge.training.objective import Batch, Phase, Terms


class Shifts(nn.Module):
    """The shifts of the nodes of a color table, as shares of 0..255; initially 0.

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
        """Return the colors of the table for images, float[B, 3, H, W] in 0..1 for the same."""
        places = (images * 2 - 1).permute(0, 2, 3, 1).unsqueeze(1)
        table = self.table()[None].expand(len(images), -1, -1, -1, -1)
        return grid_sample(table, places, padding_mode="border", align_corners=True).squeeze(2).clamp(0, 1)


class LutObjective:
    """One phase that trains the shifts; the classifier is frozen and not among `nets`.

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
        """Return an empty dict: all state is in `nets`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing: all state is in `nets`."""


@dataclass(frozen=True, eq=False)
class LutBatches:
    """Batches of the source's cells, each class drawn equally often, randomly turned and mirrored."""

    images: UInt8Images
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float64]
    batch_size: int
    seed: int

    def __call__(self, images: int) -> Iterator[Batch]:
        """Yield the batches that follow the first `images` images of a training, without end."""
        chances = self.weights / self.weights.sum()
        while True:
            rng = np.random.default_rng((self.seed, images))
            cells = rng.choice(len(chances), self.batch_size, p=chances)
            turned = dihedral(self.images[cells], rng).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            yield {"images": torch.from_numpy(turned), "probabilities": torch.from_numpy(self.probabilities[cells])}
            images += self.batch_size
