"""Classifiers that run in PyTorch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import ClassifierNetwork, new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier, Probabilities, align_classes
from hemabridge.classifiers.weights import fill
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.snapshots import read_snapshot

__all__ = ["KIND", "Classifier", "NetworkClassifier", "SnapshotClassifier", "align_classes"]

KIND = "classifier"
BATCH_SIZE = 64


class NetworkClassifier:
    """A network with its preprocessing and class names; in evaluation mode, on the CPU unless moved."""

    def __init__(
        self, network: ClassifierNetwork, preprocessing: Preprocessing, classes: tuple[str, ...], name: str
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.classes = classes
        self.name = name

    @torch.inference_mode()
    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for square RGB images uint8[N, S, S, 3]; N may be 0."""
        out = np.empty((len(images), len(self.classes)), dtype=np.float32)
        for start, batch in self._batches(images):
            logits = self.network(batch)
            out[start : start + BATCH_SIZE] = torch.softmax(logits.float(), dim=1).cpu().numpy()
        return out

    @torch.inference_mode()
    def features(self, images: UInt8Images) -> NDArray[np.float32]:
        """Return what the head judges, float32[N, D], for square RGB images uint8[N, S, S, 3]; N may be 0."""
        out = np.empty((len(images), self.network.head.in_features), dtype=np.float32)
        for start, batch in self._batches(images):
            found = self.network.body(batch.contiguous(memory_format=torch.channels_last))
            out[start : start + BATCH_SIZE] = found.float().cpu().numpy()
        return out

    def _batches(self, images: UInt8Images) -> Iterator[tuple[int, torch.Tensor]]:
        device = self.network.head.weight.device
        for start in range(0, len(images), BATCH_SIZE):
            batch = self.preprocessing(images[start : start + BATCH_SIZE])
            yield start, torch.from_numpy(np.ascontiguousarray(batch)).to(device)


class SnapshotClassifier(NetworkClassifier):
    """A classifier rebuilt from a snapshot of `fine_tune` alone."""

    @classmethod
    def from_snapshot(cls, path: Path, name: str | None = None) -> "SnapshotClassifier":
        """Rebuild the network; `name` is its architecture if not given.

        Raises:
            ModelError: the file is not the snapshot of a classifier.
        """
        network, preprocessing, classes, config = read_network(path)
        return cls(network, preprocessing, classes, name or config.architecture)


def read_network(path: Path) -> tuple[ClassifierNetwork, Preprocessing, tuple[str, ...], ClassifierConfig]:
    """Read a snapshot's network, preprocessing, class names and configuration.

    Raises:
        ModelError: the file is not the snapshot of a classifier.
    """
    tensors, header = read_snapshot(path)
    if header.get("kind") != KIND:
        raise ModelError(f"expected the snapshot of a classifier, got that of a {header.get('kind')}: {path}")
    try:
        config = ClassifierConfig.model_validate(header["config"])
        preprocessing = Preprocessing.model_validate(header["preprocessing"])
        classes = tuple(str(name) for name in header["classes"])
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(f"expected the whole snapshot of a classifier, got a damaged one: {path} ({error})") from error
    network = new_network(config.architecture, preprocessing.size_px, len(classes), config.norm)
    fill(network, {key.replace("/", ".", 1): tensor for key, tensor in tensors.items()}, f"{path.name}")
    return network, preprocessing, classes, config
