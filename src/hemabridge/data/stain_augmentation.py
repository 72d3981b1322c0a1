"""Stain augmentation: random changes of stain, lamp, lens and camera, as they differ between hospitals.

A classifier that is trained with stain augmentation depends less on the stain and the camera of its own site (domain
randomization, Tobin et al. 2017, doi:10.1109/IROS.2017.8202133; stain augmentation, Tellez et al. 2019,
doi:10.1016/j.media.2019.101544). The ranges are the same for every site, and are not measured at another hospital.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import affine_transform, gaussian_filter1d

from hemabridge.data.augmentation import dihedral, shift
from hemabridge.imaging.standardizer import UInt8Images

Float = NDArray[np.float32]

_DARKEST = 0.01
_GLASS_SHARE = 0.08
_NEW_GLASS = 0.25
"""From this strength on, the color of the original's empty glass is replaced completely."""
_MOVED_SHARE = 0.05


class StainAugmentationConfig(BaseModel):
    """The strength of stain augmentation.

    At `stain` = 1 the densities of the dyes change by about 25%, a camera channel gets about 15% of another one, and
    empty glass gets any tint from white to a deep color. At 0 colors do not change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stain: float = Field(0.25, ge=0, le=2, description="strength of the changes of stain, lamp and camera; 0 for none")
    contrast: float = Field(
        0.0,
        ge=0,
        le=1,
        exclude_if=lambda contrast: contrast == 0,
        description="standard deviation of ln(exponent); darkness (1 - value) is raised to the exponent",
    )
    blur: float = Field(
        0.023, ge=0, le=0.1, description="largest standard deviation of the blur, as a share of the image's side"
    )
    blurred: float = Field(0.7, ge=0, le=1, description="share of the images that are blurred")
    noise: float = Field(0.025, ge=0, le=0.2, description="largest standard deviation of the noise; white is 1")
    zoom: float = Field(
        0.15,
        ge=0,
        le=0.5,
        description="standard deviation of the natural logarithm of the size; at 0 no pixel is interpolated and no "
        "detail is smoothed: images are turned by right angles and moved by whole pixels",
    )


def stain_augmented(images: UInt8Images, config: StainAugmentationConfig, rng: np.random.Generator) -> UInt8Images:
    """Return each image with random color, blur, noise, size, orientation and place, uint8[N, S, S, 3], for the same.

    Args:
        images: uint8[N, S, S, 3], RGB; they are not changed.
        config: the strength of each change.
        rng: random generator; each image gets its own changes.
    """
    light = images.astype(np.float32) / np.float32(255.0)
    if config.stain > 0:
        light = _restained(light, config.stain, rng)
    if config.contrast > 0:
        exponents = np.exp(_drawn(rng, config.contrast, len(light), 1)).astype(np.float32)
        light = 1.0 - (1.0 - light) ** exponents[:, None, None, :]
    light = _photographed(light, config, rng)
    if config.zoom == 0:
        return shift(dihedral(_as_bytes(light), rng), round(_MOVED_SHARE * images.shape[1]), rng)
    return _as_bytes(_placed(light, config.zoom, rng))


def _as_bytes(light: Float) -> UInt8Images:
    found: UInt8Images = np.rint(light * 255.0).astype(np.uint8)
    return found


def _restained(light: Float, strength: float, rng: np.random.Generator) -> Float:
    """Change the optical densities above empty glass, then the color of the glass, then the saturation."""
    count = len(light)
    density = -np.log(np.maximum(light, np.float32(_DARKEST)))
    own_glass = _densities_of_glass(density)
    density -= own_glass
    mixing = np.eye(3) + 0.15 * strength * rng.standard_normal((count, 3, 3))
    gain = np.exp(_drawn(rng, 0.25 * strength, count, 1) + _drawn(rng, 0.2 * strength, count, 3))
    mixing = (mixing * gain[:, :, None]).astype(np.float32)
    density = (density.reshape(count, -1, 3) @ mixing.transpose(0, 2, 1)).reshape(density.shape)
    curve = np.exp(_drawn(rng, 0.2 * strength, count, 1) + _drawn(rng, 0.1 * strength, count, 3))[:, None, None, :]
    above, below = np.maximum(density, 1e-4), np.minimum(density, 0.0)
    density = np.exp(curve.astype(np.float32) * np.log(above)) + below
    glass = _glass(strength, count, rng) * np.exp(-max(0.0, 1.0 - strength / _NEW_GLASS) * own_glass)
    seen = np.exp(-density) * glass
    flare = rng.uniform(0.0, 0.08 * strength, (count, 1, 1, 1)).astype(np.float32)
    seen = seen * (1.0 - flare) + flare * glass
    gray = seen.mean(axis=3, keepdims=True)
    saturation = np.exp(_drawn(rng, 0.25 * strength, count, 1)).astype(np.float32)[:, None, None, :]
    developed: Float = gray + (seen - gray) * saturation
    return developed


def _glass(strength: float, count: int, rng: np.random.Generator) -> Float:
    """Return random colors of empty glass, float32[N, 1, 1, 3]: mostly a slight tint, sometimes one dark channel."""
    dark = rng.uniform(0.0, 0.35 * strength, (count, 1))
    tint = rng.uniform(0.0, 0.25 * strength, (count, 3)) * (rng.random((count, 1)) < 0.7)
    deep = np.eye(3)[rng.integers(3, size=count)] * rng.uniform(0.0, 0.6 * strength, (count, 1))
    deep *= rng.random((count, 1)) < 0.3
    color: Float = np.exp(-(dark + tint + deep)).astype(np.float32)[:, None, None, :]
    return color


def _photographed(light: Float, config: StainAugmentationConfig, rng: np.random.Generator) -> Float:
    """Add shading, blur and noise; values are clipped to 0..1."""
    count, side = light.shape[:2]
    ramp = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    down, right = (0.1 * config.stain * rng.standard_normal((2, count, 1, 1, 1))).astype(np.float32)
    light = light * (1.0 + down * ramp[None, :, None, None] + right * ramp[None, None, :, None])
    sigmas = rng.uniform(0.0, config.blur * side, count) * (rng.random(count) < config.blurred)
    for image, sigma in zip(light, sigmas.tolist(), strict=True):
        if sigma > 0.15:  # a smaller blur is not visible
            for axis in (0, 1):
                image[:] = gaussian_filter1d(image, sigma, axis=axis, mode="nearest", truncate=3.0)
    noise = rng.uniform(0.0, config.noise, (count, 1, 1, 1)).astype(np.float32)
    light += noise * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light, 0.0, 1.0)


def _placed(light: Float, zoom: float, rng: np.random.Generator) -> Float:
    """Turn, mirror, resize and move each image a little about its center; the border is extended by reflection."""
    count, side = light.shape[:2]
    angles = rng.uniform(0.0, 2.0 * np.pi, (count,))
    sizes: NDArray[np.float64] = np.exp(zoom * np.clip(rng.standard_normal((count,)), -2.0, 2.0))
    mirrored = 1.0 - 2.0 * (rng.random((count,)) < 0.5)
    moves = 0.025 * side * rng.standard_normal((count, 2))
    out = np.empty_like(light)
    center = np.full(2, (side - 1) / 2.0)
    for index in range(count):
        cosine, sine = np.cos(angles[index]), np.sin(angles[index])
        turn = sizes[index] * np.array([[cosine * mirrored[index], -sine], [sine * mirrored[index], cosine]])
        offset = center + moves[index] - turn @ center
        for channel in range(3):
            affine_transform(
                light[index, :, :, channel], turn, offset, output=out[index, :, :, channel], order=1, mode="mirror"
            )
    return out


def _densities_of_glass(density: Float) -> Float:
    """Return a low quantile of the density as that of empty glass, float32[N, 1, 1, 3]; from every second pixel."""
    some = density[:, ::2, ::2].reshape(len(density), -1, 3)
    place = int(_GLASS_SHARE * (some.shape[1] - 1))
    glass: Float = np.partition(some, place, axis=1)[:, place][:, None, None, :]
    return glass


def _drawn(rng: np.random.Generator, deviation: float, count: int, channels: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = deviation * rng.standard_normal((count, channels))
    return drawn
