"""A contact sheet: pictures in a labeled grid."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Image

_MARGIN_LEFT_PX = 118
_LINE_PX = 14
_MARGIN_PX = 8
_GAP_PX = 2
_FONT_PX = 12
_INK = (40, 40, 48)


def draw_sheet(
    rows: Sequence[Sequence[UInt8Image]], row_names: Sequence[str], column_names: Sequence[str]
) -> UInt8Image:
    """Return one picture, uint8[H, W, 3], with all pictures in a grid and the names of rows and columns.

    An underscore in a name is printed as a line break. Columns and rows are wide and high enough for their names.

    Args:
        rows: pictures uint8[S, S, 3] of one size; every row as long as `column_names`.
        row_names: one per row.
        column_names: one per column; a name may be empty.

    Raises:
        InputError: the rows do not fit the names, or the pictures differ in size.
    """
    shapes = {picture.shape for row in rows for picture in row}
    if len(shapes) != 1 or len(rows) != len(row_names) or any(len(row) != len(column_names) for row in rows):
        raise InputError(
            f"expected {len(row_names)} x {len(column_names)} pictures of one size, "
            f"got rows of {[len(row) for row in rows]} pictures of the sizes {sorted(shapes)}"
        )
    side, font = shapes.pop()[0], ImageFont.load_default(_FONT_PX)
    row_names, column_names = ([name.replace("_", "\n") for name in names] for names in (row_names, column_names))
    beside = max(_MARGIN_LEFT_PX, _widest(row_names, font) + _MARGIN_PX)
    above = _MARGIN_PX + _LINE_PX * _lines(column_names)
    wide = max(side, _widest(column_names, font) + _MARGIN_PX) + _GAP_PX
    high = max(side, _LINE_PX * _lines(row_names)) + _GAP_PX
    sheet = Image.new("RGB", (beside + wide * len(column_names), above + high * len(row_names)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(column_names):
        middle = beside + wide * column + wide // 2
        pen.text((middle, above // 2), name, fill=_INK, font=font, anchor="mm", align="center")
    for line, (row, name) in enumerate(zip(rows, row_names, strict=True)):
        top = above + high * line
        pen.text((4, top + high // 2), name, fill=_INK, font=font, anchor="lm")
        for column, picture in enumerate(row):
            place = beside + wide * column + (wide - _GAP_PX - side) // 2, top + (high - _GAP_PX - side) // 2
            sheet.paste(Image.fromarray(picture), place)
    return np.asarray(sheet, dtype=np.uint8)


def _widest(names: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """Return the pixels that the longest line of the names takes."""
    return math.ceil(max(font.getlength(line) for name in names for line in name.split("\n")))


def _lines(names: Sequence[str]) -> int:
    return max(1 + name.count("\n") for name in names)
