"""The simulated hospitals: each a stain bath and a camera, nothing else."""

from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict

from hemabridge.data.simulate.camera import Camera
from hemabridge.data.simulate.stain import StainBath


class Hospital(BaseModel):
    """How one hospital makes a picture of a cell: how it stains, and how it photographs."""

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
"""Every hospital by name. `clinic-like`, the target, looks like Hospital Clínic; `near` is hardly different from it."""

TARGET: Final = "clinic-like"
"""Name of the hospital into whose look the others are re-stained."""
