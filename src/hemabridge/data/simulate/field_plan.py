"""The plan of a simulated field: its area, its light, and the place of each object, before anything is painted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hemabridge.data.simulate.leukocytes import KINDS
from hemabridge.errors import InputError

OVERSAMPLING: Final = 2
"""Pixels of the grid on which a field is painted, per pixel of the picture and direction."""

NORMAL_PREVALENCE: Final = MappingProxyType(
    {"neutrophil": 0.58, "lymphocyte": 0.30, "monocyte": 0.07, "eosinophil": 0.04, "basophil": 0.01}
)
"""Share of each class in the blood of a healthy adult, about the middle of the reference ranges (Bain 2015)."""


@dataclass(frozen=True)
class Area:
    """A kind of place on a smear.

    Attributes:
        share: share of the fields that show it.
        red_cells: lowest and highest number per 1000 µm².
        chained: share of the red cells that lie in rouleaux.
        overlap_um: largest overlap of two red cells.
        leukocytes: number of leukocytes in it, relative to the mean.
        out_of_focus_um: standard deviation of the blur beyond that of the camera.
    """

    share: float
    red_cells: tuple[float, float]
    chained: float = 0.0
    overlap_um: float = 0.0
    leukocytes: float = 1.0
    out_of_focus_um: float = 0.0


AREAS: Final = MappingProxyType(
    {
        "monolayer": Area(0.56, (6.5, 11.0)),
        "sparse": Area(0.12, (3.3, 5.0)),
        "rouleaux": Area(0.12, (9.0, 14.0), chained=0.7, overlap_um=1.0),
        "thick": Area(0.10, (24.0, 33.0), overlap_um=5.0, leukocytes=1.3),
        "empty": Area(0.05, (0.0, 0.4), leukocytes=0.0),
        "blurred": Area(0.05, (6.5, 11.0), out_of_focus_um=1.1),
    }
)
"""A field of 6000 µm², such as 640 x 480 pixels of 0.14 µm, has 20 to 200 red cells unless it is empty."""


@dataclass(frozen=True)
class FieldObject:
    """One object of a field.

    Attributes:
        kind: a class of leukocytes, or `red_cell`, `platelet`, `platelet_clump`, `smudge`, `debris`.
        x_um, y_um: center, from the left and top edge of the field; on the grid of the painting.
        radius_um: before its outline is roughened.
        cluster: number of the group of leukocytes that touch; 0 for one that is alone.
        number: gives the object its own random numbers.
    """

    kind: str
    x_um: float
    y_um: float
    radius_um: float
    cluster: int
    number: int


@dataclass(frozen=True)
class FieldSpec:
    """The common settings of all fields of a set.

    Attributes:
        seed: random seed of the set.
        width_px, height_px: size of the pictures.
        um_per_px: side of a pixel in µm.
        leukocytes: mean number of leukocytes in a field.
        prevalence: share of each class among them; it is scaled to a sum of 1.
        areas: names from `AREAS` that occur.
    """

    seed: int = 0
    width_px: int = 640
    height_px: int = 480
    um_per_px: float = 0.14
    leukocytes: float = 3.0
    prevalence: Mapping[str, float] = field(default_factory=lambda: NORMAL_PREVALENCE)
    areas: tuple[str, ...] = tuple(AREAS)

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            InputError: one is out of range, or a class or area does not exist.
        """
        if (
            not set(self.prevalence) <= set(KINDS)
            or not self.prevalence
            or min(self.prevalence.values()) < 0
            or sum(self.prevalence.values()) <= 0
        ):
            raise InputError(
                f"expected a share of at least 0 for classes out of {', '.join(KINDS)}; got {self.prevalence}"
            )
        if not self.areas or not set(self.areas) <= set(AREAS):
            raise InputError(f"expected areas out of {', '.join(AREAS)}; got {', '.join(self.areas) or 'none'}")
        if self.seed < 0 or not 0.03 <= self.um_per_px <= 0.5 or not 0 <= self.leukocytes <= 50:
            raise InputError(
                "expected a seed of at least 0, 0.03 to 0.5 µm per pixel and a mean of 0 to 50 leukocytes in a field; "
                f"got {self.seed}, {self.um_per_px} and {self.leukocytes}"
            )
        if not (200 <= self.width_px <= 4096 and 200 <= self.height_px <= 4096):
            raise InputError(f"expected pictures of 200 to 4096 pixels, got {self.width_px} x {self.height_px}")

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height in µm."""
        return self.width_px * self.um_per_px, self.height_px * self.um_per_px


@dataclass(frozen=True)
class FieldPlan:
    """One field.

    Attributes:
        spec: what it shares with the other fields of its set.
        index: its number in the set.
        area: one of `AREAS`.
        pallor: mean depth of the dimples of its red cells, 0..1.
        vignette: loss of light from the brightest point to the farthest corner, 0..1.
        brightest: that point, as shares of width and height.
        objects: all that lies on it, in the order of the painting.
    """

    spec: FieldSpec
    index: int
    area: str
    pallor: float
    vignette: float
    brightest: tuple[float, float]
    objects: tuple[FieldObject, ...]

    @property
    def field_id(self) -> str:
        """Name of the field, the same in every hospital, such as `field-7-00012`."""
        return f"field-{self.spec.seed}-{self.index:05d}"
