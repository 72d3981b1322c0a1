"""Classifiers that run in PyTorch."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemabridge.classifiers.header import KIND, ClassifierHeader
from hemabridge.classifiers.network import ClassifierNetwork, new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier, Probabilities, align_classes, mean_over_views
from hemabridge.classifiers.weights import fill
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.snapshots import weights_of
from hemabridge.training.tensorfile import parse_tensors

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
    """A classifier that was rebuilt from a snapshot of `fine_tune`; no other file is needed.

    Attributes:
        path: path of the snapshot.
        sha256: SHA-256 of the snapshot, 64 lower-case hexadecimal digits.
        header: its header.
    """

    def __init__(
        self,
        content: bytes,
        header: ClassifierHeader,
        path: Path,
        name: str | None = None,
        sha256: str | None = None,
    ) -> None:
        """Rebuild the network from all bytes of a snapshot, whose header is `header`; errors state `path`.

        `sha256` is that of the bytes, if it is known already.

        Raises:
            ModelError: the weights are damaged, or not those of the header.
        """
        network = rebuilt(weights_of(parse_tensors(content, path), path), header, path.name)
        super().__init__(network, header.preprocessing, header.classes, name or header.config.architecture)
        self.path, self.header = path, header
        self.sha256 = sha256 or hashlib.sha256(content).hexdigest()

    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for square RGB images uint8[N, S, S, 3], over four views if its header says so."""
        predict = super().probabilities
        return mean_over_views(predict, images) if self.header.mirrored else predict(images)

    def new_network(self) -> ClassifierNetwork:
        """Return another network with the same weights, from which a training can start."""
        weights = {key.replace(".", "/", 1): tensor for key, tensor in self.network.state_dict().items()}
        return rebuilt(weights, self.header, self.path.name)


def rebuilt(tensors: Mapping[str, torch.Tensor], header: ClassifierHeader, name: str) -> ClassifierNetwork:
    """Return a network with weights of a snapshot, by names `net/key`; errors state `name`.

    Raises:
        ModelError: the weights are not those of the header.
    """
    config = header.config
    network = new_network(config.architecture, header.preprocessing.size_px, len(header.classes), config.norm)
    fill(network, {key.replace("/", ".", 1): tensor for key, tensor in tensors.items()}, name)
    return network
