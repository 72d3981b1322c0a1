"""The simulated hospitals, each a stain bath and a camera: those with a name, and random ones."""

import math
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from hemabridge.data.simulate.camera import Camera
from hemabridge.data.simulate.stain import StainBath
from hemabridge.errors import InputError


class Hospital(BaseModel):
    """A hospital: how it stains a cell, and how it photographs the cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bath: StainBath = StainBath()
    camera: Camera = Camera()


_ALL = (
    Hospital(name="clinic-like"),
    Hospital(
        name="near",
        bath=StainBath(azure_b=0.92, eosin_y=1.1, ph=6.75),
        camera=Camera(lamp_kelvin=4800, clear_field_rgb=(250, 233, 214), noise=2.0),
    ),
    Hospital(
        name="yellow-field",
        bath=StainBath(azure_b=0.8, eosin_y=1.3, complex_formed=0.8, ph=6.5),
        camera=Camera(
            lamp_kelvin=3000,
            sensor_nm=(612.0, 552.0, 485.0),
            clear_field_rgb=(253, 240, 140),
            saturation=1.2,
            flare=0.03,
            blur_um=0.16,
            sharpening=0.3,
            noise=4.0,
            jpeg_quality=80,
        ),
    ),
    Hospital(
        name="blue-shifted",
        bath=StainBath(azure_b=1.1, eosin_y=0.75, complex_formed=0.6, ph=7.0),
        camera=Camera(lamp_kelvin=6800, clear_field_rgb=(216, 222, 238), saturation=0.75, flare=0.02, noise=3.0),
    ),
    Hospital(
        name="pale",
        bath=StainBath(azure_b=0.45, eosin_y=0.55, complex_formed=0.8),
        camera=Camera(clear_field_rgb=(244, 242, 243), flare=0.06, sharpening=0.2, noise=2.0),
    ),
    Hospital(
        name="overstained",
        bath=StainBath(azure_b=1.6, eosin_y=1.9, ph=6.7),
        camera=Camera(clear_field_rgb=(238, 214, 222), saturation=1.15, noise=2.0),
    ),
    Hospital(
        name="dark-blurred",
        bath=StainBath(azure_b=1.1, eosin_y=1.0, ph=6.9),
        camera=Camera(
            clear_field_rgb=(196, 184, 186),
            saturation=0.8,
            gamma=1.9,
            blur_um=0.38,
            sharpening=0.0,
            shading=0.25,
            noise=5.0,
            jpeg_quality=70,
        ),
    ),
)

HOSPITALS: Final = MappingProxyType({hospital.name: hospital for hospital in _ALL})
"""All hospitals by name. `clinic-like`, the target, has the colors of Hospital Clínic; `near` differs little from
it."""

TARGET: Final = "clinic-like"
"""Name of the hospital into whose colors the others are re-stained."""

_BATHS: Final = {"azure_b": (0.45, 1.8), "eosin_y": (0.45, 2.0)}
_CAMERAS: Final = {"lamp_kelvin": (2800.0, 7500.0), "saturation": (0.7, 1.35), "gamma": (1.5, 2.2)}
_ADDED: Final = {"flare": 0.06, "blur_um": 0.3, "shading": 0.25, "noise": 4.0}
_SENSOR_SHIFTS_NM: Final = ((-10.0, 12.0), (-8.0, 14.0), (-8.0, 25.0))
_DARKEST_CLEAR_FIELD: Final = 185.0
_BLUE_TO_RED: Final = (0.55, 1.12)
_GREEN_TO_BRIGHTEST: Final = (0.87, 1.0)


def random_hospital(rng: np.random.Generator, strength: float = 1.0) -> Hospital:
    """Draw a random hospital: bath, lamp, sensor, white balance, focus and noise all differ from the target.

    Each value lies between that of the target and an extreme of real laboratories and microscopes. The hospitals with a
    name lie within these ranges or near them. The name of a random one is `random-` and eight hexadecimal digits.

    Args:
        rng: random generator; the same state gives the same hospital.
        strength: above 0 (almost the target) to 1 (the whole ranges); ratios are scaled by their logarithm.

    Raises:
        InputError: `strength` is out of range.
    """
    if not 0.0 < strength <= 1.0:
        raise InputError(f"expected a strength above 0 and up to 1, got {strength}")
    target = HOSPITALS[TARGET]
    name = f"random-{rng.integers(16**8):08x}"
    bath = StainBath(
        **{key: _stretched(rng, 1.0, limits, strength) for key, limits in _BATHS.items()},
        complex_formed=1.0 - strength * rng.uniform(0.0, 0.5),
        ph=target.bath.ph + strength * rng.uniform(-0.4, 0.4),
    )
    before = target.camera
    shifts = [strength * rng.uniform(*limits) for limits in _SENSOR_SHIFTS_NM]
    red, green, blue = (nm + shift for nm, shift in zip(before.sensor_nm, shifts, strict=True))
    camera = Camera(
        **{key: _stretched(rng, getattr(before, key), limits, strength) for key, limits in _CAMERAS.items()},
        **{key: getattr(before, key) + strength * rng.uniform(0.0, most) for key, most in _ADDED.items()},
        sensor_nm=(red, green, blue),
        clear_field_rgb=_random_clear_field(rng, before.clear_field_rgb, strength),
        sharpening=before.sharpening * (1.0 - strength * rng.uniform(0.0, 1.0)),
        jpeg_quality=round(90 - strength * rng.uniform(0.0, 25.0)),
    )
    return Hospital(name=name, bath=bath, camera=camera)


def _stretched(rng: np.random.Generator, middle: float, limits: tuple[float, float], strength: float) -> float:
    low, high = (math.log(limit / middle) for limit in limits)
    return middle * math.exp(strength * rng.uniform(low, high))


def _random_clear_field(
    rng: np.random.Generator, middle: tuple[float, float, float], strength: float
) -> tuple[float, float, float]:
    # Empty glass is yellow to bluish white, or pink; it is rarely green.
    blue = _stretched(rng, 1.0, _BLUE_TO_RED, 1.0)
    green = max(1.0, blue) * rng.uniform(*_GREEN_TO_BRIGHTEST)
    level = rng.uniform(_DARKEST_CLEAR_FIELD, 255.0) / max(1.0, blue)
    red, green, blue = (
        (1.0 - strength) * m + strength * d * level for m, d in zip(middle, (1.0, green, blue), strict=True)
    )
    return red, green, blue
