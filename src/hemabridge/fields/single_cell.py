"""Whether an image shows one sharp leukocyte in its middle, as a classifier expects it.

A classifier gives each image one of its classes. An image of red cells, platelets, a burst nucleus or the place between
two cells belongs to none, and the probabilities do not tell. What is stained in the picture does: nuclei are found as
in a field (`fields.stained_objects`), and compared with how near to the middle, how large and how smooth the nuclei of
leukocytes are at four laboratories. The side of the crop gives the scale: nuclei are a fixed share of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from hemabridge.class_names import spelling_key
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.fields.density import Absorbed, Mask, absorbed_light, chromatin_of, resized
from hemabridge.fields.detect import WORK_UM
from hemabridge.fields.field_scale import NUCLEUS_UM
from hemabridge.fields.sharpness import BLURRED, nucleus_edge_um, reason_blurred
from hemabridge.fields.stained_objects import DetectionLimits, Part, StainedObject, stained_objects
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.kept import Kept, content_hash
from hemabridge.imaging.scale import NUCLEUS_FRACTION, CropPx, crop_center
from hemabridge.imaging.standardizer import UInt8Image

CROP_UM: Final = NUCLEUS_UM / NUCLEUS_FRACTION
"""Side of the crop of a cell in micrometers, by its nuclei; it may be a fifth more or less."""

REACH: Final = 1.5
"""Side of the part of an image that is looked at, in sides of the crop: a nucleus beyond it is another cell's."""

EMPTY: Final = "no single leukocyte: no nucleus is in the middle of the image"
SMALL: Final = "no single leukocyte: what is in the middle is smaller than a nucleus, as platelets are"
BETWEEN: Final = "no single leukocyte: the middle of the image lies between two nuclei"
RAGGED: Final = "no single leukocyte: the nucleus is as ragged as a burst one"

OTHER_OBJECTS: Final = ("platelet", "thrombocyte", "smudge", "artifact", "artef", "debri", "other", "none")
"""Words in the names of classes, without case and blanks, that are no single leukocytes."""

RED_CELLS: Final = ("rbc", "redcell", "redbloodcell", "erythrocyte")
"""Such names; words that contain them, as that of a nucleated red blood cell, are others."""

_SPOT_UM: Final = 3.0


@dataclass(frozen=True)
class CellLimits:
    """What distinguishes the nucleus of the leukocyte that an image shows, in micrometers at the scale of its crop.

    Attributes:
        away_um: largest distance of the middle of a nucleus from that of the image.
        least_size_um2: smallest product of the thickness and the square root of the area.
        most_ragged: largest ratio of the outline of a nucleus to that of a disc with the same area.
        between: distance of the nearest nucleus from the middle, as a share of that of the second one, from which the
            middle of the image lies between two cells.
    """

    away_um: float = 5.0
    least_size_um2: float = 13.5
    most_ragged: float = 2.5
    between: float = 0.6


@dataclass(frozen=True)
class SeenObject:
    """A stained object of an image.

    Attributes:
        away_um: distance of the middle of its box from that of the image.
        size_um2: its thickness times the square root of its area.
        ragged: its outline as a multiple of that of a disc with the same area.
        edge_um: width of its edge, in micrometers at the scale of red cells (`CELL_CROP_UM`).
    """

    away_um: float
    size_um2: float
    ragged: float
    edge_um: float = 0.0


def no_single_cell(image: UInt8Image, crop_px: CropPx | None, classes: Sequence[str]) -> str:
    """Return why an image does not show one sharp leukocyte in its middle; empty if it does, or if it cannot be told.

    It cannot without a scale. For a classifier that has classes of other objects, only the nucleus of a leukocyte can
    be too blurred: all else may be one of these objects.

    Args:
        image: RGB uint8[H, W, 3].
        crop_px: side of the square around a cell in pixels of the image, `whole`, or None if unknown.
        classes: of the classifier.
    """
    if not isinstance(crop_px, int):
        return ""
    reason = reason_of(seen_objects(image, crop_px), CellLimits())
    return reason if reason.startswith(BLURRED) or not any(map(_is_no_leukocyte, classes)) else ""


def seen_objects(image: UInt8Image, crop_px: int) -> tuple[SeenObject, ...]:
    """Return the stained objects around the middle of an image, the nearest one first; those of recent ones are kept.

    Args:
        image: RGB uint8[H, W, 3].
        crop_px: side of the square around a cell, in pixels of the image.
    """
    part = crop_center(image, min(*image.shape[:2], round(REACH * crop_px)))
    return _SEEN.get((content_hash(part), crop_px), partial(_objects_in, part, crop_px))


def _objects_in(cell: UInt8Image, crop_px: int) -> tuple[SeenObject, ...]:
    picture = resized(cell, CROP_UM / crop_px / WORK_UM)
    light = absorbed_light(picture, background_color(picture))
    levels = chromatin_of(light, round(_SPOT_UM / WORK_UM))
    if levels is None:
        return ()
    height, width = picture.shape[:2]
    part = Part(light, (0, 0, height, width), (height, width), WORK_UM, 1.0)
    found = (_seen(one, light) for one in stained_objects(part, levels, DetectionLimits()))
    return tuple(sorted(found, key=lambda one: one.away_um))


_SEEN: Kept[tuple[str, int], tuple[SeenObject, ...]] = Kept(2_000)


def reason_of(seen: Sequence[SeenObject], limits: CellLimits) -> str:
    """Return why an image with these stained objects does not show one sharp leukocyte in its middle; else nothing."""
    nuclei = [one for one in seen if one.size_um2 >= limits.least_size_um2]
    middle = nuclei_in_middle(seen, limits)
    if len(nuclei) > 1 and nuclei[0].away_um > limits.between * nuclei[1].away_um:
        return BETWEEN
    if not middle:
        return SMALL if any(one.away_um <= limits.away_um for one in seen) else EMPTY
    if all(one.ragged > limits.most_ragged for one in middle):
        return RAGGED
    return reason_blurred(middle[0].edge_um)


def nuclei_in_middle(seen: Sequence[SeenObject], limits: CellLimits) -> list[SeenObject]:
    """Return the nuclei near to the middle of an image, the nearest one first."""
    return [one for one in seen if one.size_um2 >= limits.least_size_um2 and one.away_um <= limits.away_um]


def cell_edge_um(crop: UInt8Image, um_per_px: float) -> float | None:
    """Return the width of the edge of the nucleus in the middle of a crop, in micrometers; None if none is found.

    It is that by which `no_single_cell` tells a blurred cell.

    Args:
        crop: RGB uint8[H, W, 3], the cell in its middle.
        um_per_px: micrometers per pixel of it.
    """
    middle = nuclei_in_middle(seen_objects(crop, max(1, round(CELL_CROP_UM / um_per_px))), CellLimits())
    return middle[0].edge_um if middle else None


def _is_no_leukocyte(name: str) -> bool:
    key = spelling_key(name).removesuffix("s")
    return key in RED_CELLS or any(word in key for word in OTHER_OBJECTS)


def _seen(found: StainedObject, light: Absorbed) -> SeenObject:
    top, left, bottom, right = found.box
    height, width = light.green.shape
    away = np.hypot(top + bottom - height, left + right - width) / 2 * WORK_UM
    mask = np.zeros((bottom - top + 2, right - left + 2), np.bool_)
    mask[found.pixels[0] - top + 1, found.pixels[1] - left + 1] = True
    outline = np.pi / 4 * _edges(mask) * WORK_UM
    disc = 2 * np.sqrt(np.pi * found.area_um2)
    size = found.thickness_um * np.sqrt(found.area_um2)
    edge = nucleus_edge_um(light, found.pixels, WORK_UM * CELL_CROP_UM / CROP_UM)
    return SeenObject(float(away), float(size), float(outline / disc), edge)


def _edges(mask: Mask) -> int:
    """Return the number of edges between a pixel of a mask and one outside of it.

    Its mean over all directions is 4 / pi times the length of the outline (Cauchy and Crofton).
    """
    return int(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
