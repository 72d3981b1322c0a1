"""Classifiers that were trained elsewhere: an ONNX file, a timm state dict, or a snapshot of `hemabridge train`.

An ONNX file needs no PyTorch.
"""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from scipy.special import softmax

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier, Probabilities, mean_over_views
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.tensorfile import HEADER, parse_header, parse_metadata

BATCH_SIZE = 64
SUM_TOLERANCE = 1e-3
"""Largest distance of the sum of a row of probabilities from 1."""

EXTERNAL_DATA_FOLDER: Final = "session.model_external_initializers_file_folder_path"
"""Setting of ONNX Runtime: the folder of weights in a second file."""


class OnnxClassifier:
    """An ONNX network with its preprocessing and class names, run by ONNX Runtime on the CPU.

    The network takes one float32[N, 3, S, S], or [N, S, S, 3] if the preprocessing's layout is nhwc; N is free or 1.
    Its first output is float32[N, C].

    Args:
        file: the ONNX file.
        classes: class names in the order of the output.
        preprocessing: from image to input.
        outputs: whether the output is logits or probabilities.
        content: all bytes of the file, if it was read already.
        mirrored: whether the prediction is the mean over four views of each image.

    Raises:
        ModelError: the file is missing, is not ONNX, or has another input or output.
    """

    def __init__(
        self,
        file: Path,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        outputs: Literal["logits", "probabilities"],
        content: bytes | None = None,
        *,
        mirrored: bool = False,
    ) -> None:
        self.name = file.stem
        self.mirrored = mirrored
        self.classes = classes
        self.preprocessing = preprocessing
        self.outputs = outputs
        self.file = file
        self.session = _open(file, content)
        self.input, self.batch_size = _check_input(self.session, preprocessing, file)
        self.output = _check_output(self.session, len(classes), file)

    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for square RGB images uint8[N, S, S, 3]; N may be 0.

        Raises:
            ModelError: the output does not fit the settings `classes` and `outputs`.
        """
        return mean_over_views(self._of_view, images) if self.mirrored else self._of_view(images)

    def _of_view(self, images: UInt8Images) -> Probabilities:
        out = np.empty((len(images), len(self.classes)), dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = np.ascontiguousarray(self.preprocessing(images[start : start + self.batch_size]))
            out[start : start + self.batch_size] = self._to_probabilities(self._run(batch), len(batch))
        return out

    def with_preprocessing(self, preprocessing: Preprocessing) -> "OnnxClassifier":
        """Return the same network with another preprocessing.

        Raises:
            ModelError: the network takes no such input.
        """
        other = copy(self)
        other.preprocessing = preprocessing
        other.input, other.batch_size = _check_input(self.session, preprocessing, self.file)
        return other

    def _run(self, batch: Probabilities) -> Probabilities:
        try:
            return np.asarray(self.session.run([self.output], {self.input: batch})[0], dtype=np.float32)
        except Exception as error:  # ONNX Runtime raises its own types, which it does not export
            raise ModelError(
                f"expected a network that takes float32{list(batch.shape)}, got one that does not: {self.file} "
                f"({error}); set preprocessing.layout or preprocessing.size_px"
            ) from error

    def _to_probabilities(self, found: Probabilities, count: int) -> Probabilities:
        if found.shape != (count, len(self.classes)) or not np.isfinite(found).all():
            raise ModelError(
                f"expected finite outputs [{count}, {len(self.classes)}] from {self.file}, got {list(found.shape)}, "
                f"{np.count_nonzero(~np.isfinite(found))} not finite; check its classes and preprocessing"
            )
        sums_to_1 = bool(found.min() >= 0 and np.abs(found.sum(axis=1) - 1).max() <= SUM_TOLERANCE)
        if self.outputs == "logits":
            if sums_to_1:
                raise ModelError(
                    f"expected logits from {self.file}, got values of 0 to 1 that sum to 1 for each cell: the file "
                    "contains the softmax; set outputs = 'probabilities'"
                )
            return np.asarray(softmax(found, axis=1), dtype=np.float32)
        if not sums_to_1:
            raise ModelError(f"expected probabilities from {self.file}, got other numbers; set outputs = 'logits'")
        return found


def _open(file: Path, content: bytes | None) -> Any:
    if content is None:
        if not file.is_file():
            raise ModelError(f"expected an ONNX file, got nothing: {file} does not exist")
        content = file.read_bytes()
    import onnxruntime  # slow to load, and needed for a network only

    options = onnxruntime.SessionOptions()
    # Weights in a second file lie beside the first one, as ONNX Runtime assumes where it reads the first one itself.
    options.add_session_config_entry(EXTERNAL_DATA_FOLDER, str(file.resolve().parent))
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own types, which it does not export
        raise ModelError(
            f"expected an ONNX file that ONNX Runtime opens, got another: {file} ({error}); if its weights lie in a "
            "second file, put that beside it"
        ) from error


def _check_input(session: Any, preprocessing: Preprocessing, file: Path) -> tuple[str, int]:
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    size_px, layout = preprocessing.size_px, preprocessing.layout
    shapes = {"nchw": (3, size_px, size_px), "nhwc": (size_px, size_px, 3)}
    fits = {name: _fits(shape, wanted) for name, wanted in shapes.items()}
    if not fits[layout] or inputs[0].type != "tensor(float)" or (isinstance(shape[0], int) and shape[0] != 1):
        got = "; ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        other = next((name for name in shapes if name != layout and fits[name]), None)
        raise ModelError(
            f"expected one input, float32[N, {', '.join(map(str, shapes[layout]))}], in {file}, got {got}; set "
            + (f'preprocessing.layout = "{other}"' if other else "preprocessing.size_px")
            + ", or export the network with a free batch size"
        )
    return inputs[0].name, 1 if shape[0] == 1 else BATCH_SIZE


def _fits(shape: Sequence[Any], wanted: Sequence[int]) -> bool:
    """Return whether an input, whose free sizes have names, accepts a shape after its first axis."""
    return len(shape) == 4 and all(
        got == want or not isinstance(got, int) for got, want in zip(shape[1:], wanted, strict=True)
    )


def _check_output(session: Any, num_classes: int, file: Path) -> str:
    output = session.get_outputs()[0]
    known = [size for size in output.shape[1:] if isinstance(size, int)]
    if len(output.shape) != 2 or known not in ([], [num_classes]):
        raise ModelError(
            f"expected {num_classes} outputs per cell, one for each class, from {file}, got {output.name}: "
            f"{output.shape}; give all its classes in their order"
        )
    return str(output.name)


def load_external(config: ExternalConfig, content: bytes | None = None) -> Classifier:
    """Open a classifier that was trained elsewhere; its name is the name of the file without suffix.

    Args:
        config: the file, and what the file does not contain.
        content: all bytes of the file, if it was read already, so that the bytes that are hashed are those that are
            used.

    Raises:
        ModelError: the file is missing, damaged, a pickle, or does not fit the architecture or the classes.
    """
    if config.is_onnx:
        return OnnxClassifier(config.file, config.classes, config.preprocessing, config.outputs, content)
    return _load_safetensors(config, content)


def _load_safetensors(config: ExternalConfig, content: bytes | None) -> Classifier:
    # Imported here so that an ONNX file needs no PyTorch.
    from hemabridge.classifiers.classifier import NetworkClassifier, SnapshotClassifier
    from hemabridge.classifiers.network import new_network, pretrained_cfg, split_weights
    from hemabridge.classifiers.weights import fill, read_weights

    file, classes, architecture = config.file, config.classes, str(config.architecture)
    if content is None and file.is_file():
        content = file.read_bytes()
    weights = read_weights(file, content)
    assert content is not None  # read_weights raises for a missing file
    if HEADER in parse_metadata(content, file):
        header = ClassifierHeader.of(parse_header(content, file), file)
        _check_stated(config, header, file)
        return SnapshotClassifier(content, header, file, file.stem)
    network = new_network(architecture, config.preprocessing.size_px, len(classes))
    body, head = split_weights(weights, pretrained_cfg(architecture), network.body)
    fill(network.body, body, f"{architecture} ({file.name})")
    fill(network.head, head, f"{architecture}'s classifier of {len(classes)} classes ({file.name})")
    return NetworkClassifier(network, config.preprocessing, classes, file.stem)


def _check_stated(config: ExternalConfig, header: ClassifierHeader, file: Path) -> None:
    """Make sure that what is stated of a snapshot is what it says of itself; mean and deviation need no statement."""
    stated: dict[str, object] = {"architecture": config.architecture, "classes": config.classes}
    own: dict[str, object] = {"architecture": header.config.architecture, "classes": header.classes}
    for name in sorted({"size_px", *config.preprocessing.model_fields_set}):
        stated[f"preprocessing.{name}"] = getattr(config.preprocessing, name)
        own[f"preprocessing.{name}"] = getattr(header.preprocessing, name)
    wrong = [f"{name} = {value!r}, got {stated[name]!r}" for name, value in own.items() if stated[name] != value]
    if wrong:
        raise ModelError(f"expected what the snapshot says of itself, {'; '.join(wrong)}: {file}; correct the recipe")
