"""A picture of a field with a ring around each leukocyte, for people to check."""

from collections.abc import Set
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hemabridge.fields.detect import Leukocyte
from hemabridge.fields.field_image import FieldPixels
from hemabridge.fields.find_cells import FoundCells
from hemabridge.fields.view import View
from hemabridge.imaging.standardizer import UInt8Image

MOST_PX: Final = 1600
"""Longest side of the picture."""

LEAST_PX: Final = 640
"""Shortest longest side: a smaller field is enlarged, so that the numbers can be read."""

RING_UM: Final = 15.0
"""Diameter of a ring in micrometers."""

BAR_UM: Final = 10
"""Length of the scale bar in micrometers."""

COLORS: Final = {
    "whole": (0, 114, 178),
    "touches another": (0, 158, 115),
    "cut by the border": (213, 94, 0),
    "blurred": (0, 0, 0),
}
"""Colors of the rings, which color-blind people can distinguish (Okabe and Ito 2008), by what the foot calls them."""

_LINE_PX: Final = 30
_FOOT_PX: Final = 2 * _LINE_PX
_FONT_PX: Final = 15


def draw_overlay(image: FieldPixels, found: FoundCells) -> UInt8Image:
    """Draw a numbered ring around each leukocyte; below a line with counts, and one with a scale bar and the colors.

    Blue rings are whole cells, green ones were parted from a cell that they touch, orange ones are cut by the border,
    black ones are too blurred for a certain class.

    Args:
        image: RGB uint8[H, W, 3], the field, or its open file.
        found: its cells.

    Returns:
        RGB uint8[h, w, 3] with the field's proportions and a foot.
    """
    longest = max(image.shape[:2])
    factor = min(max(longest, LEAST_PX), MOST_PX) / longest
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    picture = Image.new("RGB", (size[0], size[1] + _FOOT_PX), "white")
    small = View(image, max(1.0, 1 / factor), 1.0).whole()
    picture.paste(Image.fromarray(small).resize(size), (0, 0))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT_PX)
    if found.scale is not None:
        radius = RING_UM / 2 / found.scale.um_per_px * factor
        for number, cell in enumerate(found.leukocytes, start=1):
            x, y = cell.x * factor, cell.y * factor
            color = COLORS[_kind(cell)]
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline="white", width=4)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=2)
            place = min(max(x, 12), size[0] - 12), min(max(y - radius - 10, 12), size[1] - 12)
            pen.text(place, str(number), fill=color, font=font, anchor="mm", stroke_width=2, stroke_fill="white")
        _draw_bar(pen, size, BAR_UM / found.scale.um_per_px * factor, font)
    pen.text((8, size[1] + _LINE_PX / 2), summary(found), fill="black", font=font, anchor="lm")
    _draw_legend(pen, size[1] + 1.5 * _LINE_PX, {_kind(cell) for cell in found.leukocytes}, font)
    return np.asarray(picture)


def _kind(cell: Leukocyte) -> str:
    """Return the key of `COLORS` of a cell; why it is not counted comes before what it touches."""
    if cell.border:
        return "cut by the border"
    return "blurred" if cell.blurred else "touches another" if cell.cluster else "whole"


def _draw_legend(
    pen: ImageDraw.ImageDraw, middle: float, kinds: Set[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    """Draw a small ring of each color in the picture, with what it means."""
    left = 8.0
    for kind in (kind for kind in COLORS if kind in kinds):
        pen.ellipse((left, middle - 6, left + 12, middle + 6), outline=COLORS[kind], width=2)
        pen.text((left + 18, middle), kind, fill="black", font=font, anchor="lm")
        left += 18 + pen.textlength(kind, font=font) + 20


def summary(found: FoundCells) -> str:
    """Return one line about a field: counts, scale, and why it is not fit for a count."""
    if found.scale is None:
        return f"{found.status}: {found.reason}"
    count = len(found.leukocytes)
    parts = ((found.border_cells, "cut by the border"), (found.blurred_cells, "blurred"))
    told = ", ".join(f"{number} {what}" for number, what in parts if number)
    cut = f" ({told})" if told else ""
    fault = "" if found.status == "searched" else f"; {found.status}"
    return (
        f"{count} leukocyte{'s' * (count != 1)}{cut}; {found.scale.um_per_px:.3f} um per pixel "
        f"({found.scale.source}){fault}"
    )


def _draw_bar(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], length: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    right, middle = size[0] - 8, size[1] + 1.5 * _LINE_PX
    if length < size[0] / 3:
        pen.line((right - length, middle + 9, right, middle + 9), fill="black", width=3)
        pen.text((right, middle - 4), f"{BAR_UM} um", fill="black", font=font, anchor="rm")
