"""Classifiers that come as an ONNX file. Imports no PyTorch."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
from scipy.special import softmax

from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images

BATCH_SIZE = 64
SUM_TOLERANCE = 1e-3
"""How far the sum of a row of probabilities may be from 1."""

EXTERNAL_DATA_FOLDER: Final = "session.model_external_initializers_file_folder_path"
"""Setting of ONNX Runtime: where weights in a second file lie."""


class OnnxClassifier:
    """An ONNX network with its preprocessing and class names, run by ONNX Runtime on the CPU.

    The network takes one float32[N, 3, S, S], or [N, S, S, 3] where the preprocessing's layout is nhwc; N is free, or
    fixed at 1. Its first output is float32[N, C].

    Args:
        file: the ONNX file.
        classes: class names in the order of the output.
        preprocessing: from image to input.
        outputs: whether the output is logits or probabilities.
        content: all bytes of the file where it was read already.

    Raises:
        ModelError: the file is missing, is no ONNX, or has another input or output.
    """

    def __init__(
        self,
        file: Path,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        outputs: Literal["logits", "probabilities"],
        content: bytes | None = None,
    ) -> None:
        self.name = file.stem
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
            ModelError: the network's output is not what the configuration says.
        """
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
                    f"expected logits from {self.file}, got values of 0 to 1 that sum to 1 for each cell: its softmax "
                    "is inside; set outputs = 'probabilities'"
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
    options = onnxruntime.SessionOptions()
    # Weights in a second file lie beside the first, as ONNX Runtime takes it where it reads the first by itself.
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
    """Tell whether a network's input, of which free sizes have names, may be of some shape after its first axis."""
    return len(shape) == 4 and all(
        got == want or not isinstance(got, int) for got, want in zip(shape[1:], wanted, strict=True)
    )


def _check_output(session: Any, num_classes: int, file: Path) -> str:
    output = session.get_outputs()[0]
    known = [size for size in output.shape[1:] if isinstance(size, int)]
    if len(output.shape) != 2 or known not in ([], [num_classes]):
        raise ModelError(
            f"expected {num_classes} outputs a cell, one for each class, from {file}, got {output.name}: {output.shape}"
            "; give all its classes in their order"
        )
    return str(output.name)
