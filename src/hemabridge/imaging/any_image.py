"""Images of callers: arrays, PIL images or tensors, one at a time or several. Imports no PyTorch."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

AnyImage = TypeVar("AnyImage")
"""An RGB image: uint8[H, W, 3] or uint8[N, H, W, 3] array, PIL image, or uint8[3, H, W] or uint8[N, 3, H, W] tensor."""


def restained_like(standardize: Callable[[UInt8Images], UInt8Images], image: AnyImage) -> AnyImage:
    """Re-stain one image, and return it as the type that was given.

    A tensor keeps its subclass (such as `torchvision.tv_tensors.Image`) and its device. The images of a stack are
    re-stained together.

    Args:
        standardize: a function from uint8[N, H, W, 3] to the same shape.
        image: RGB, 0..255: an array uint8[H, W, 3], a PIL image, or a tensor uint8[3, H, W]; or a stack of arrays
            uint8[N, H, W, 3] or of tensors uint8[N, 3, H, W].

    Raises:
        ImageError: the image has another type, mode or shape.
    """
    found: Any = image
    if isinstance(found, Image.Image):
        if found.mode != "RGB":
            raise ImageError(f'expected an RGB image, got Pillow mode {found.mode}; use image.convert("RGB")')
        return Image.fromarray(_restained(standardize, np.asarray(found)))  # type: ignore[return-value]
    if _is_tensor(found):
        return _restained_tensor(standardize, found)  # type: ignore[no-any-return]
    if isinstance(found, np.ndarray):
        return _restained(standardize, found)  # type: ignore[return-value]
    raise ImageError(
        f"expected an array, a PIL image or a tensor, got {type(image).__name__}; read files with hemabridge.read_image"
    )


def check_each(images: Iterable[Any], what: str) -> list[UInt8Image]:
    """Return the images as a list.

    Raises:
        ImageError: `images` is not iterable, or one of them is not RGB uint8[H, W, 3].
    """
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        raise ImageError(f"{what}: expected images uint8[H, W, 3], got {type(images).__name__}")
    found = list(images)
    for position, image in enumerate(found):
        fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3
        if not fits or image.shape[2] != 3 or image.size == 0:
            got = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ImageError(
                f"{what}: expected RGB uint8[H, W, 3], got {got} at position {position}; read files with "
                "hemabridge.read_image"
            )
    return found


def _restained(standardize: Callable[[UInt8Images], UInt8Images], image: np.ndarray[Any, Any]) -> UInt8Images:
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3 or image.size == 0:
        raise ImageError(
            f"expected an RGB array uint8[H, W, 3] or uint8[N, H, W, 3], got {image.dtype}{list(image.shape)}; "
            "re-stain before the values are scaled"
        )
    return standardize(image) if image.ndim == 4 else standardize(image[None])[0]


def _restained_tensor(standardize: Callable[[UInt8Images], UInt8Images], image: Any) -> Any:
    if str(image.dtype) != "torch.uint8" or image.ndim not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape:
        raise ImageError(
            f"expected an RGB tensor uint8[3, H, W] or uint8[N, 3, H, W], got {image.dtype}{list(image.shape)}; "
            "put the re-staining before v2.ToDtype and v2.Normalize"
        )
    restained = _restained(standardize, np.ascontiguousarray(np.moveaxis(image.detach().cpu().numpy(), -3, -1)))
    channels_first = np.ascontiguousarray(np.moveaxis(restained, -1, -3))
    return image.new_tensor(channels_first).as_subclass(type(image))


def _is_tensor(image: Any) -> bool:
    """Return whether it is a torch.Tensor or of a subclass, without importing torch."""
    return any(kind.__module__.partition(".")[0] == "torch" and kind.__name__ == "Tensor" for kind in type(image).mro())
