"""From a cell's image to the input of a classifier: the view (color or shape), the size, and the normalization.

The shape view shows a cell without its stain: the outlines of nucleus and cell, and how dark each place is compared
with the nucleus. Dyes, lamp and camera of a hospital change it little; lobes, cell size, nucleus-to-cytoplasm ratio and
granules are still visible. A classifier of the shape view needs no re-staining, and its errors fall on other cells than
those of a classifier of the color view.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from hemabridge.errors import ModelError
from hemabridge.imaging.color import optical_density
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

Channels = tuple[float, float, float]

View = Literal["color", "shape"]
"""Which view of an image a classifier takes: the image itself, or its `shape_views`."""

ChannelOrder = Literal["rgb", "bgr"]
InputLayout = Literal["nchw", "nhwc"]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, as a share of 255."""
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, as a share of 255."""


DARK_QUANTILE = 0.9
"""Quantile of the optical densities in the nucleus that is taken as the density of dense chromatin."""

DARKEST = 0.1
"""Brightness of dense chromatin, 0..1. It is above 0, so that even denser places are darker."""

LEAST_DENSITY = 1e-3
"""Smallest optical density of dense chromatin, so that the view of a blank image is defined."""

REMEMBERED = 6000
"""Number of views in the cache. Several classifiers take the views of the same images one after the other. At 96 px,
so many views and their images take 330 MB. A pass over more images than this finds none of them in the cache."""


def shape_views(images: UInt8Images) -> UInt8Images:
    """Return the shape view of each cell, uint8[N, H, W, 3], for RGB uint8[N, H, W, 3].

    The first channel is 255 inside of the nucleus, the second one inside of the cell. The third is the brightness: 255
    for the empty field, `DARKEST` of it for dense chromatin, linear in the optical density (mean of the three
    channels). Masks are those of `hemabridge.imaging.compartments.segment`.
    """
    views = np.empty_like(images)
    for image, view in zip(images, views, strict=True):
        view[:] = _shape_view(image.tobytes(), image.shape)
    return views


@lru_cache(maxsize=REMEMBERED)
def _shape_view(pixels: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    image: UInt8Image = np.frombuffer(pixels, np.uint8).reshape(shape)
    found = segment(image)
    density = optical_density(image)
    glass = found.background if found.background.any() else np.ones(image.shape[:2], bool)
    density = (density - np.median(density[glass], axis=0)).mean(axis=2)
    inside = density[found.nucleus] if found.nucleus.any() else density.ravel()
    dense = max(float(np.quantile(inside, DARK_QUANTILE)), LEAST_DENSITY)
    brightness = np.clip(1.0 - (1.0 - DARKEST) * density / dense, 0.0, 1.0)
    return (np.stack([found.nucleus, found.cell, brightness], axis=2) * 255.0).astype(np.uint8)


class Preprocessing(BaseModel):
    """Input = (x / 255 - mean) / std of the view, at `size_px` pixels a side. The defaults are those of ImageNet.

    For a network that takes values of 0 to 1, mean is 0 and std is 1; for 0 to 255, mean is 0 and std is 1 / 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(96, ge=8, le=2048, description="side of the input, in pixels")
    mean: Channels = Field(IMAGENET_MEAN, description="red, green, blue, as a share of 255")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        IMAGENET_STD, description="red, green, blue, as a share of 255; above 0"
    )

    view: View = Field(
        "color", exclude_if=lambda view: view == "color", description="input: the image, or the shape view"
    )
    channels: ChannelOrder = Field(
        "rgb",
        exclude_if=lambda channels: channels == "rgb",
        description="order of the input's channels; bgr is that of OpenCV; mean and std are always red, green, blue",
    )
    layout: InputLayout = Field(
        "nchw",
        exclude_if=lambda layout: layout == "nchw",
        description="axes of the input; nhwc (channels last) is that of TensorFlow, for an ONNX file only",
    )

    def prepare(self, images: UInt8Images) -> UInt8Images:
        """Return the view of each image, uint8[N, size_px, size_px, 3]; images that need no change are not copied.

        The view is taken before the size is changed, since outlines are found best at full size.

        Raises:
            ModelError: `images` is not uint8[N, S, S, 3].
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
            raise ModelError(
                f"expected square RGB images uint8[N, S, S, 3], got {images.dtype}{list(images.shape)}; crop them first"
            )
        if self.view == "shape":
            images = shape_views(images)
        if images.shape[1] == self.size_px:
            return images
        out = np.empty((len(images), self.size_px, self.size_px, 3), dtype=np.uint8)
        for index, image in enumerate(images):
            out[index] = resize_square(image, self.size_px)
        return out

    def normalize(self, images: UInt8Images) -> NDArray[np.float32]:
        """Return float32[N, 3, H, W], or [N, H, W, 3] with `layout` nhwc, of uint8[N, H, W, 3]; the size stays."""
        scale = np.float32(1.0) / (np.float32(255.0) * np.asarray(self.std, np.float32))
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        found = (images * scale - offset).astype(np.float32)
        if self.channels == "bgr":
            found = found[..., ::-1]
        return found if self.layout == "nhwc" else found.transpose(0, 3, 1, 2)

    def __call__(self, images: UInt8Images) -> NDArray[np.float32]:
        """Return the network's input, as `normalize` does, at `size_px`, for uint8[N, S, S, 3] images."""
        return self.normalize(self.prepare(images))
