"""A contact sheet: pictures in a labeled grid."""

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

    An underscore in a name is printed as a line break.

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
    step = shapes.pop()[0] + _GAP_PX
    column_names = [name.replace("_", "\n") for name in column_names]
    above = _MARGIN_PX + _LINE_PX * max(1 + name.count("\n") for name in column_names)
    size = (_MARGIN_LEFT_PX + step * len(column_names), above + step * len(row_names))
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column, name in enumerate(column_names):
        middle = _MARGIN_LEFT_PX + step * column + step // 2
        pen.text((middle, above // 2), name, fill=_INK, font=font, anchor="mm", align="center")
    for line, (row, name) in enumerate(zip(rows, row_names, strict=True)):
        top = above + step * line
        pen.text((4, top + step // 2), name.replace("_", "\n"), fill=_INK, font=font, anchor="lm")
        for column, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (_MARGIN_LEFT_PX + step * column, top))
    return np.asarray(sheet, dtype=np.uint8)
