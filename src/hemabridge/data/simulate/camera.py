"""Lamp, lens and camera: from transmitted light to the RGB file that a laboratory exports."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from hemabridge.data.simulate.canvas import FIELD_UM
from hemabridge.data.simulate.stain import WAVELENGTHS_NM
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Image

_SECOND_RADIATION_CONSTANT_NM_K = 1.4388e7
_SENSOR_WIDTH_NM = 32.0
_DARKEST = 1e-4

SHARPENING_UM = 0.18
"""Standard deviation of the Gaussian of the camera's unsharp mask, in µm."""


class Camera(BaseModel):
    """A microscope's lamp, focus and camera.

    Attributes:
        lamp_kelvin: color temperature of the lamp (black body).
        sensor_nm: wavelengths at which the red, green and blue pixels are most sensitive.
        clear_field_rgb: color of empty glass, 0..255; it includes exposure and white balance.
        saturation: color matrix of the camera; 1 keeps the colors of the sensor.
        gamma: exponent of the tone curve; a larger one gives lighter mid-tones.
        flare: stray light as a fraction of the full light; it brightens the darkest tones.
        blur_um: standard deviation of the optical blur.
        sharpening: weight of the camera's unsharp mask.
        shading: loss of light from the upper left to the lower right corner, as a fraction.
        noise: standard deviation of the sensor noise in mid-gray, in 8-bit steps.
        jpeg_quality: 1..95 (Pillow's scale), or None for lossless files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lamp_kelvin: float = Field(default=5200.0, ge=1500.0, le=12000.0)
    sensor_nm: tuple[float, float, float] = (605.0, 540.0, 462.0)
    clear_field_rgb: tuple[float, float, float] = (254.0, 231.0, 204.0)
    saturation: float = Field(default=1.0, ge=0.0, le=3.0)
    gamma: float = Field(default=1.8, ge=0.5, le=4.0)
    flare: float = Field(default=0.002, ge=0.0, le=0.5)
    blur_um: float = Field(default=0.08, ge=0.0, le=2.0)
    sharpening: float = Field(default=0.8, ge=0.0, le=3.0)
    shading: float = Field(default=0.02, ge=0.0, le=0.6)
    noise: float = Field(default=1.5, ge=0.0, le=30.0)
    jpeg_quality: int | None = Field(default=90, ge=1, le=95)


def expose(
    transmitted: NDArray[np.float32],
    camera: Camera,
    size_px: int,
    *,
    width_um: float = FIELD_UM,
    light: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the noiseless picture, float32[H, size_px, 3], 0..255.

    Args:
        transmitted: fraction of light that passes, float32[wavelengths, Q, P]; Q and P are the same multiple of the
            picture's height and width.
        camera: lamp, lens and camera.
        size_px: width of the picture.
        width_um: what the width shows, in µm.
        light: light of the lamp in each pixel of the picture, float32[H, size_px], 1 is its full light; None for even
            light.
    """
    rows, side = transmitted.shape[-2:]
    factor = side // size_px
    height_px = rows // factor
    linear = (response(camera) @ transmitted.reshape(len(WAVELENGTHS_NM), -1)).reshape(3, rows, side)
    if camera.blur_um > 0:
        sigma = camera.blur_um * side / width_um
        linear = np.stack([gaussian_filter(plane, sigma, mode="nearest", truncate=3.0) for plane in linear])
    linear = linear.reshape(3, height_px, factor, size_px, factor).mean(axis=(2, 4), dtype=np.float32)
    linear *= shading((height_px, size_px), camera)
    if light is not None:
        linear *= light
    return _sharpened(developed(linear, camera), camera, width_um).transpose(1, 2, 0)


def response(camera: Camera) -> NDArray[np.float32]:
    """Return the weight of each wavelength in each channel, float32[3, wavelengths].

    Rows sum to 1, so that clear glass is white before the white balance, with any lamp.
    """
    nm = WAVELENGTHS_NM.astype(np.float64)
    lamp = nm**-5.0 / np.expm1(_SECOND_RADIATION_CONSTANT_NM_K / (nm * camera.lamp_kelvin))
    peaks = np.asarray(camera.sensor_nm)[:, None]
    seen = lamp * np.exp(-(((nm[None, :] - peaks) / _SENSOR_WIDTH_NM) ** 2) / 2.0)
    weights: NDArray[np.float32] = (seen / seen.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def shading(shape: tuple[int, int], camera: Camera) -> NDArray[np.float32]:
    """Return the fraction of light, float32[H, W]: 1 in the upper left, least in the lower right corner."""
    down, right = (np.linspace(0.0, 0.5, side, dtype=np.float32) for side in shape)
    return 1.0 - camera.shading * (down[:, None] + right[None, :])


def developed(linear: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Return the picture of the camera before its unsharp mask.

    Args:
        linear: light in each channel as a fraction of that of clear glass, float32[3, H, W].
        camera: flare, saturation, tone curve and white balance.

    Returns:
        float32[3, H, W], 0 to about 255; light brighter than clear glass may exceed it.
    """
    lifted = (linear + camera.flare) / (1.0 + camera.flare)
    gray = lifted.mean(axis=0, keepdims=True)
    lifted = np.clip(gray + camera.saturation * (lifted - gray), _DARKEST, None)
    picture: NDArray[np.float32] = lifted ** (1.0 / camera.gamma)
    picture *= np.asarray(camera.clear_field_rgb, dtype=np.float32)[:, None, None]
    return picture


def undeveloped(picture: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Return the light of a picture, float32[3, H, W], at least 0.0001: the inverse of `developed`.

    Args:
        picture: float32[3, H, W], 0 to about 255.
        camera: flare, saturation, tone curve and white balance.

    Raises:
        InputError: the pictures of this camera have no color, so that the light cannot be recovered.
    """
    if camera.saturation == 0 or min(camera.clear_field_rgb) <= 0:
        raise InputError(
            "expected a camera whose saturation and clear field are above 0 to recover light from its pictures, got "
            f"{camera.saturation} and {camera.clear_field_rgb}"
        )
    clear = np.asarray(camera.clear_field_rgb, dtype=np.float32)[:, None, None]
    lifted = (np.clip(picture, 0.0, None) / clear) ** camera.gamma
    gray = lifted.mean(axis=0, keepdims=True)
    lifted = gray + (lifted - gray) / camera.saturation
    light: NDArray[np.float32] = np.clip(lifted * (1.0 + camera.flare) - camera.flare, _DARKEST, None)
    return light


def digitize(picture: NDArray[np.float32]) -> UInt8Image:
    """Round a picture (0..255) to 8 bits."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def record(picture: NDArray[np.float32], camera: Camera, rng: np.random.Generator) -> UInt8Image:
    """Return the image that the camera stores, uint8[H, W, 3]: with noise, rounded to 8 bits, then as JPEG.

    The variance of the noise grows with the signal (shot noise), and has a constant part (electronics).
    """
    brightness = np.clip(picture, 0.0, 255.0) / 127.5
    deviation = camera.noise * np.sqrt(0.3 + 0.7 * brightness)
    noisy = picture + deviation * rng.standard_normal(picture.shape, dtype=np.float32)
    image = digitize(noisy)
    if camera.jpeg_quality is None:
        return image
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=camera.jpeg_quality, subsampling=0)
    return np.asarray(Image.open(buffer), dtype=np.uint8)


def _sharpened(picture: NDArray[np.float32], camera: Camera, width_um: float) -> NDArray[np.float32]:
    if camera.sharpening > 0:
        sigma = SHARPENING_UM * picture.shape[-1] / width_um
        soft = np.stack([gaussian_filter(plane, sigma, mode="nearest", truncate=3.0) for plane in picture])
        picture += camera.sharpening * (picture - soft)
    return picture
