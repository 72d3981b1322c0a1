"""Classifiers that come as a file: a timm state dict or ONNX. An ONNX file is used without PyTorch."""

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.onnx_classifier import OnnxClassifier
from hemabridge.classifiers.protocol import Classifier


def load_external(config: ExternalConfig, content: bytes | None = None) -> Classifier:
    """Open a classifier that was trained elsewhere; it is named by its file.

    Args:
        config: which file, and what it does not say of itself.
        content: all bytes of the file where it was read already: what is hashed is then what is used.

    Raises:
        ModelError: the file is missing, damaged, a pickle, or does not fit the architecture or the classes.
    """
    if config.is_onnx:
        return OnnxClassifier(config.file, config.classes, config.preprocessing, config.outputs, content)
    return _load_timm(config, content)


def _load_timm(config: ExternalConfig, content: bytes | None) -> Classifier:
    # Imported here so that an ONNX file needs no PyTorch.
    from hemabridge.classifiers.classifier import NetworkClassifier
    from hemabridge.classifiers.network import new_network, pretrained_cfg, split_weights
    from hemabridge.classifiers.weights import fill, read_weights

    file, classes, architecture = config.file, config.classes, str(config.architecture)
    network = new_network(architecture, config.preprocessing.size_px, len(classes))
    body, head = split_weights(read_weights(file, content), pretrained_cfg(architecture), network.body)
    fill(network.body, body, f"{architecture} ({file.name})")
    fill(network.head, head, f"{architecture}'s classifier of {len(classes)} classes ({file.name})")
    return NetworkClassifier(network, config.preprocessing, classes, file.stem)
