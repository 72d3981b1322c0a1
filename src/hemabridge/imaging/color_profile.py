"""Color profiles (ICC.1:2022) of image files: conversion to sRGB."""

from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

_SAME_LEVELS: Final = 2
"""Largest difference, in gray levels, of a profile that describes sRGB itself; the pixels then stay as they are."""

_COLR: Final = b"colr"
_BOX_HEADER_BYTES: Final = 3
_RESTRICTED_ICC: Final = 2
_ANY_ICC: Final = 3


def in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """Return an image as RGB in sRGB, and whether its profile could be used (also if it has none).

    A profile that cannot be read, or that is one of another kind of samples (such as CMYK for RGB), is not used: the
    samples are then taken as sRGB. What a profile does decides whether it is sRGB, and not its name: "GIMP built-in
    Linear sRGB" is another one.

    Args:
        image: of any mode but 16 bits or float.
        profile: the bytes of the ICC profile; empty if there is none.
    """
    plain = image.convert("RGB") if image.mode in ("1", "P", "PA") else image
    plain = plain.convert("L") if plain.mode == "LA" else plain
    if not profile:
        return image if image.mode == "RGB" else image.convert("RGB"), True  # Pillow would copy it
    transform = _to_srgb(profile, plain.mode)
    if transform is None and plain.mode == "L":  # many programs put a profile of RGB samples into gray pictures
        plain = plain.convert("RGB")
        transform = _to_srgb(profile, plain.mode)
    if transform is None:
        return image.convert("RGB"), False
    if plain.mode == "RGB" and _changes_nothing(profile):
        return plain, True
    done = ImageCms.applyTransform(plain, transform)
    return (image.convert("RGB"), False) if done is None else (done, True)


def profile_of_jpeg_2000(content: bytes) -> bytes:
    """Return the ICC profile of a JP2 file (box `colr`, ISO 15444-1, I.5.3.3); empty if there is none."""
    place = content.find(_COLR)
    if place < 4 or content[place + len(_COLR)] not in (_RESTRICTED_ICC, _ANY_ICC):
        return b""
    start = place + len(_COLR) + _BOX_HEADER_BYTES
    return content[start : place - 4 + int.from_bytes(content[place - 4 : place], "big")]


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of a profile for the mode of an image; None if there is none."""
    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@lru_cache(maxsize=16)
def _changes_nothing(profile: bytes) -> bool:
    """Return whether a profile of RGB samples describes sRGB, by 9 x 9 x 9 colors."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    transform = _to_srgb(profile, "RGB")
    done = None if transform is None else ImageCms.applyTransform(Image.fromarray(colors), transform)
    return done is None or int(np.abs(np.asarray(done).astype(int) - colors).max()) <= _SAME_LEVELS
