"""Classifiers that run in PyTorch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.header import KIND, ClassifierHeader
from hemabridge.classifiers.network import ClassifierNetwork, new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier, Probabilities, align_classes
from hemabridge.classifiers.weights import fill
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.snapshots import read_snapshot

__all__ = ["KIND", "Classifier", "NetworkClassifier", "SnapshotClassifier", "align_classes"]

BATCH_SIZE = 64


class NetworkClassifier:
    """A network with its preprocessing and class names, in evaluation mode. It is on the CPU unless it is moved."""

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
        """Return the inputs of the head, float32[N, D], for square RGB images uint8[N, S, S, 3]; N may be 0."""
        out = np.empty((len(images), self.network.head.in_features), dtype=np.float32)
        for start, batch in self._batches(images):
            found = self.network.body(batch.contiguous(memory_format=torch.channels_last))
            out[start : start + BATCH_SIZE] = found.float().cpu().numpy()
        return out

    def with_preprocessing(self, preprocessing: Preprocessing) -> "NetworkClassifier":
        """Return the same network with another preprocessing.

        Raises:
            ModelError: the network takes no such input.
        """
        if preprocessing.layout != "nchw":
            raise ModelError("expected layout = 'nchw': timm models take channels first")
        return NetworkClassifier(self.network, preprocessing, self.classes, self.name)

    def _batches(self, images: UInt8Images) -> Iterator[tuple[int, torch.Tensor]]:
        device = self.network.head.weight.device
        for start in range(0, len(images), BATCH_SIZE):
            batch = self.preprocessing(images[start : start + BATCH_SIZE])
            yield start, torch.from_numpy(np.ascontiguousarray(batch)).to(device)


class SnapshotClassifier(NetworkClassifier):
    """A classifier that was rebuilt from a snapshot of `fine_tune`; no other file is needed."""

    @classmethod
    def from_snapshot(cls, path: Path, name: str | None = None) -> "SnapshotClassifier":
        """Rebuild the network; `name` is its architecture if not given.

        Raises:
            ModelError: the file is not the snapshot of a classifier.
        """
        tensors, header = read_snapshot(path)
        return cls.from_tensors(tensors, ClassifierHeader.of(header, path), path, name)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], header: ClassifierHeader, path: Path, name: str | None = None
    ) -> "SnapshotClassifier":
        """Rebuild the network from the content of `path`: weights with keys `net/key`, as `weights_of` returns them.

        Raises:
            ModelError: the weights are not those of the header.
        """
        network = _rebuilt(tensors, header, path)
        return cls(network, header.preprocessing, header.classes, name or header.config.architecture)


def read_network(path: Path) -> tuple[ClassifierNetwork, Preprocessing, tuple[str, ...], ClassifierConfig]:
    """Read a snapshot's network, preprocessing, class names and configuration.

    Raises:
        ModelError: the file is not the snapshot of a classifier.
    """
    tensors, table = read_snapshot(path)
    header = ClassifierHeader.of(table, path)
    return _rebuilt(tensors, header, path), header.preprocessing, header.classes, header.config


def _rebuilt(tensors: Mapping[str, torch.Tensor], header: ClassifierHeader, path: Path) -> ClassifierNetwork:
    config = header.config
    network = new_network(config.architecture, header.preprocessing.size_px, len(header.classes), config.norm)
    fill(network, {key.replace("/", ".", 1): tensor for key, tensor in tensors.items()}, f"{path.name}")
    return network
