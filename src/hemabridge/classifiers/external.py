"""Classifiers that come as a file: a timm state dict or ONNX. An ONNX file is used without PyTorch."""

from pathlib import Path

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.onnx_classifier import OnnxClassifier
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier


def load_external(config: ExternalConfig) -> Classifier:
    """Open a classifier that was trained elsewhere; it is named by its file.

    Raises:
        ModelError: the file is missing, damaged, a pickle, or does not fit the architecture or the classes.
    """
    if config.is_onnx:
        return OnnxClassifier(config.file, config.classes, config.preprocessing, config.outputs)
    return _load_timm(config.file, str(config.architecture), config.classes, config.preprocessing)


def _load_timm(file: Path, architecture: str, classes: tuple[str, ...], preprocessing: Preprocessing) -> Classifier:
    # Imported here so that an ONNX file needs no PyTorch.
    from hemabridge.classifiers.classifier import NetworkClassifier
    from hemabridge.classifiers.network import new_network, pretrained_cfg, split_weights
    from hemabridge.classifiers.weights import fill, read_weights

    body, head = split_weights(read_weights(file), pretrained_cfg(architecture))
    network = new_network(architecture, preprocessing.size_px, len(classes))
    fill(network.body, body, f"{architecture} ({file.name})")
    fill(network.head, head, f"{architecture}'s classifier of {len(classes)} classes ({file.name})")
    return NetworkClassifier(network, preprocessing, classes, file.stem)
