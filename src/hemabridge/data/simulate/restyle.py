"""Restyling: real images of cells with the stain and camera of a simulated hospital (a synthetic domain shift)."""

import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.ndimage import map_coordinates

from hemabridge.data.simulate.camera import (
    SHARPENING_UM,
    Camera,
    developed,
    digitize,
    record,
    shading,
    undeveloped,
)
from hemabridge.data.simulate.canvas import FIELD_UM
from hemabridge.data.simulate.hospitals import HOSPITALS, TARGET, Hospital
from hemabridge.data.simulate.unmixing import density, unmixed
from hemabridge.errors import ImageError, InputError
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

_NODES: Final = 33


def photograph(
    images: UInt8Images,
    hospital: Hospital,
    *,
    reference: Hospital = HOSPITALS[TARGET],
    um_per_px: float | None = None,
    seed: int = 0,
    noise: bool = True,
) -> UInt8Images:
    """Return real images of cells as if `hospital` had stained and photographed them.

    The effects of the camera of `reference` are inverted (unsharp mask, tone curve, white balance, flare). Each color
    is unmixed into stained structures, which then get the stain and the camera of `hospital`. The part of a color that
    the stain model does not explain is kept, so that `reference` itself gives the original images. Structure can only
    be lost, by blur and noise: a lens that is sharper than that of the reference has no effect.

    Args:
        images: uint8[N, H, W, 3], RGB, photographed by `reference`.
        hospital: the hospital of which the images get stain and camera.
        reference: the hospital of the images, or a similar one.
        um_per_px: side of a pixel in µm; if None, the shorter side of an image shows `FIELD_UM`.
        seed: random seed of the noise; with one seed, an image always gets the same noise.
        noise: add the noise that `hospital` has beyond that of `reference`, and its JPEG compression.

    Returns:
        uint8[N, H, W, 3]. Each depends on its own image only.

    Raises:
        ImageError: `images` is not such an array.
        InputError: `um_per_px` is not above 0, or the camera of `reference` cannot be inverted.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ImageError(f"expected RGB uint8[N, H, W, 3] to restyle, got {images.dtype}{list(images.shape)}")
    if um_per_px is not None and not um_per_px > 0:
        raise InputError(f"expected a side of a pixel above 0 µm, got {um_per_px}")
    px_per_um = min(images.shape[1:3]) / FIELD_UM if um_per_px is None else 1.0 / um_per_px
    return np.stack([_restyled(image, hospital, reference, px_per_um, seed, noise) for image in images])


def measured_reference(images: Iterable[UInt8Image]) -> Hospital:
    """Return the target hospital with the color of empty glass in these images: the reference for `photograph`.

    Args:
        images: uint8[H, W, 3] each, RGB, with empty glass in most of them; at least one.

    Raises:
        InputError: there is no image.
    """
    glass = [background_color(image) for image in images]
    if not glass:
        raise InputError("expected at least one image to measure the color of empty glass in, got none")
    red, green, blue = np.median(glass, axis=0).tolist()
    target = HOSPITALS[TARGET]
    return target.model_copy(
        update={"camera": target.camera.model_copy(update={"clear_field_rgb": (red, green, blue)})}
    )


def _restyled(
    image: UInt8Image, hospital: Hospital, reference: Hospital, px_per_um: float, seed: int, noise: bool
) -> UInt8Image:
    before, after = reference.camera, hospital.camera
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    planes = _filtered(planes, 1.0 / _sharpening(planes.shape[1:], before, px_per_um))
    light = undeveloped(planes, before) * np.power(10.0, -_density_change(planes, reference, hospital))
    light *= shading(planes.shape[1:], after) / shading(planes.shape[1:], before)
    spread = np.sqrt(max(0.0, after.blur_um**2 - before.blur_um**2))
    light = _filtered(light, _gaussian(planes.shape[1:], spread * px_per_um))
    picture = developed(np.maximum(light, 0.0), after)
    picture = _filtered(picture, _sharpening(planes.shape[1:], after, px_per_um)).transpose(1, 2, 0)
    if not noise:
        return digitize(picture)
    added = after.model_copy(update={"noise": max(0.0, after.noise**2 - before.noise**2) ** 0.5})
    own = zlib.crc32(np.ascontiguousarray(image).tobytes())
    return record(picture, added, np.random.default_rng((seed, zlib.crc32(hospital.name.encode()), own)))


def _density_change(planes: NDArray[np.float32], reference: Hospital, hospital: Hospital) -> NDArray[np.float32]:
    table = _change_table(reference, hospital)
    at = np.clip(planes, 0.0, 255.0) * ((_NODES - 1) / 255.0)
    return np.stack([map_coordinates(table[channel], at, order=1, mode="nearest") for channel in range(3)])


@lru_cache(maxsize=32)
def _change_table(reference: Hospital, hospital: Hospital) -> NDArray[np.float32]:
    """Return the change of optical density, float32[3, nodes, nodes, nodes], for red, green and blue of the camera."""
    amounts = _amounts_of_colors(reference)
    change = density(amounts, hospital.bath, hospital.camera) - density(amounts, reference.bath, reference.camera)
    return np.ascontiguousarray(change.T).reshape(3, _NODES, _NODES, _NODES)


@lru_cache(maxsize=4)
def _amounts_of_colors(reference: Hospital) -> NDArray[np.float32]:
    steps = np.linspace(0.0, 255.0, _NODES, dtype=np.float32)
    colors = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, -1, 1)
    light = undeveloped(colors, reference.camera)[:, :, 0].T
    return unmixed(-np.log10(light), reference)


def _filtered(planes: NDArray[np.float32], transfer: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrum = dctn(planes, axes=(1, 2), norm="ortho")
    filtered: NDArray[np.float32] = idctn(spectrum * transfer, axes=(1, 2), norm="ortho")
    return filtered


def _gaussian(shape: tuple[int, ...], sigma_px: float) -> NDArray[np.float32]:
    """Return the transfer function of a Gaussian blur in the space of the cosine transform, float32[H, W]."""
    down, right = (np.exp(-((np.pi * sigma_px * np.arange(side) / side) ** 2) / 2.0) for side in shape)
    return np.outer(down, right).astype(np.float32)


def _sharpening(shape: tuple[int, ...], camera: Camera, px_per_um: float) -> NDArray[np.float32]:
    return 1.0 + np.float32(camera.sharpening) * (1.0 - _gaussian(shape, SHARPENING_UM * px_per_um))
