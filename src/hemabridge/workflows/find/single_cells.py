"""Whether images that were given as fields show single cells that are cut out already."""

import shlex
from collections.abc import Sequence
from statistics import median
from typing import Final

from hemabridge.fields.whole_field import MIDDLE, NARROW_UM
from hemabridge.workflows.find.field_record import FieldRecord

LEAST_SHARE: Final = 0.75
"""Share of images with a leukocyte in their middle from which the images of a folder show single cells."""


def caution_of(records: Sequence[FieldRecord], folder: str) -> str:
    """Return what to tell the user if most images show one cell in their middle and are as narrow as a crop of one.

    Empty for whole fields, which are wider, and of which few have a leukocyte in their middle.

    Args:
        records: of all files.
        folder: the folder of the images, as the user named it.
    """
    searched = [one for one in records if one.um_per_px is not None]
    middle = sum(map(_has_one_in_the_middle, searched))
    if not searched or middle < LEAST_SHARE * len(searched):
        return ""
    width_um = median(map(_width_um, searched))
    if width_um > NARROW_UM:
        return ""
    given = shlex.quote(folder)
    return (
        f"caution: these images show single cells already, and no whole fields: {middle} of {len(searched)} have a "
        f"leukocyte in their middle, and they are {width_um:.0f} um wide (median). Give them as they are to the other "
        f"commands: `hemabridge run RUN {given} OUT`, or `hemabridge adapt OURS {given} --out RUN --weights download`"
    )


def _has_one_in_the_middle(record: FieldRecord) -> bool:
    width, height = record.width or 0, record.height or 0
    reach = MIDDLE * min(width, height) / 2
    return any(max(abs(cell.x - width / 2), abs(cell.y - height / 2)) <= reach for cell in record.cells)


def _width_um(record: FieldRecord) -> float:
    return max(record.width or 0, record.height or 0) * (record.um_per_px or 0.0)
