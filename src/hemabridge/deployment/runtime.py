"""A translator's network in ONNX Runtime, as a Standardizer; needs no PyTorch."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images, by_rows
from hemabridge.normalizers.known_colors import distinct, packed, unpacked

IMAGES: Final = "images"
SQUARES: Final = "squares"
"""Inputs of a network, float32[1, 3, H, W] in [-1, 1]. Only a pointwise one has `SQUARES`: the images to measure."""
RESTAINED: Final = "restained"
"""The output, float32[1, 3, H, W] in [-1, 1]."""


class OnnxRestainer:
    """Re-stains by a network, one image at a time.

    Args:
        content: the ONNX file.
        path: of the file, for errors.

    Raises:
        ModelError: it is no such network.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        import onnxruntime  # slow to load, and needed for networks only

        self.path = path
        options = onnxruntime.SessionOptions()
        # Between two images a core would wait busily for the next one, while others decode and write.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own types, which it does not export
            raise ModelError(f"expected a network that ONNX Runtime opens, got another: {path} ({error})") from error
        inputs = tuple(each.name for each in self.session.get_inputs())
        outputs = tuple(each.name for each in self.session.get_outputs())
        if inputs not in ((IMAGES,), (IMAGES, SQUARES)) or outputs != (RESTAINED,):
            raise ModelError(f"expected a network that re-stains, got one from {inputs} to {outputs}: {path}")
        self._inputs = inputs

    @property
    def is_pointwise(self) -> bool:
        """Whether a pixel's new color depends only on its old color and on a summary of the square."""
        return SQUARES in self._inputs

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3]; N may be 0."""
        out = np.empty_like(images)
        for place in range(len(images)):
            one = images[place]
            out[place] = self._recolored(one, one) if self.is_pointwise else self._run(one[None], one[None])[0]
        return out

    def standardize_by(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3] by summaries of the squares around their cells, uint8[N, S, S, 3]."""
        out = np.empty_like(images)
        for place, (image, square) in enumerate(zip(images, squares, strict=True)):
            out[place] = self._recolored(image, square)
        return out

    def _recolored(self, image: UInt8Image, square: UInt8Image) -> UInt8Image:
        return by_rows(image, lambda rows: self._color_by_color(rows, square))

    def _color_by_color(self, image: UInt8Image, square: UInt8Image) -> UInt8Image:
        """Return the image re-stained by a pointwise network, which sees each color once."""
        colors, places = distinct(packed(image))
        made = packed(self._run(unpacked(colors[None])[None], square[None])[0])
        return unpacked(made[0].take(places))

    def _run(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        given = {IMAGES: _to_network(images)}
        if self.is_pointwise:
            given[SQUARES] = _to_network(squares)
        try:
            found = np.asarray(self.session.run([RESTAINED], given)[0], np.float32)
        except Exception as error:  # as above
            raise ModelError(
                f"expected a network that takes images {list(images.shape)}, got one that does not: {self.path} "
                f"({error})"
            ) from error
        if found.shape != (len(images), 3, *images.shape[1:3]) or not np.isfinite(found).all():
            raise ModelError(f"expected a finite image of the same size, got {list(found.shape)}: {self.path}")
        return _from_network(found)


def _to_network(images: UInt8Images) -> NDArray[np.float32]:
    """Turn uint8[B, H, W, 3] into float32[B, 3, H, W] in [-1, 1], as `translators.batches.to_network` does."""
    scaled = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    return scaled / np.float32(127.5) - np.float32(1.0)


def _from_network(found: NDArray[np.float32]) -> UInt8Images:
    scaled = (np.clip(found, -1.0, 1.0) + np.float32(1.0)) * np.float32(127.5)
    return np.ascontiguousarray(np.rint(scaled).astype(np.uint8).transpose(0, 2, 3, 1))
