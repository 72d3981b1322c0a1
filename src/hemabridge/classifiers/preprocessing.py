"""What happens to an image before a classifier sees it; recorded with every classifier."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from hemabridge.errors import ModelError
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.shape_view import shape_views
from hemabridge.imaging.standardizer import UInt8Images

Channels = tuple[float, float, float]

View = Literal["color", "shape"]
"""What of an image a classifier sees: the image, or `hemabridge.imaging.shape_view` of it."""

ChannelOrder = Literal["rgb", "bgr"]
InputLayout = Literal["nchw", "nhwc"]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, as a share of 255."""
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, as a share of 255."""


class Preprocessing(BaseModel):
    """Input = (x / 255 - mean) / std of the view, at `size_px` pixels a side. Mean and deviation are ImageNet's.

    A network that takes values of 0 to 1 has mean 0 and std 1; one that takes 0 to 255 has mean 0 and std 1 / 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(96, ge=8, le=2048, description="side of the input, in pixels")
    mean: Channels = Field(IMAGENET_MEAN, description="red, green, blue, as a share of 255")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        IMAGENET_STD, description="red, green, blue, as a share of 255; above 0"
    )

    view: View = Field("color", exclude_if=lambda view: view == "color", description="what of an image is seen")
    channels: ChannelOrder = Field(
        "rgb",
        exclude_if=lambda channels: channels == "rgb",
        description="order of the input's channels; bgr is that of OpenCV. mean and std stay red, green, blue",
    )
    layout: InputLayout = Field(
        "nchw",
        exclude_if=lambda layout: layout == "nchw",
        description="axes of the input; nhwc (channels last) is that of TensorFlow, for an ONNX file only",
    )

    def prepare(self, images: UInt8Images) -> UInt8Images:
        """Return the view of each image, uint8[N, size_px, size_px, 3]; what is right already comes back as it is.

        The view is taken before the size is changed: outlines are found best at full size.

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
        """Return float32[N, 3, H, W], or [N, H, W, 3] with `layout` nhwc, of uint8[N, H, W, 3] of the right size."""
        scale = np.float32(1.0) / (np.float32(255.0) * np.asarray(self.std, np.float32))
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        found = (images * scale - offset).astype(np.float32)
        if self.channels == "bgr":
            found = found[..., ::-1]
        return found if self.layout == "nhwc" else found.transpose(0, 3, 1, 2)

    def __call__(self, images: UInt8Images) -> NDArray[np.float32]:
        """Return the network's input, as `normalize` does, at `size_px`, for uint8[N, S, S, 3] images."""
        return self.normalize(self.prepare(images))
