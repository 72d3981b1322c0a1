"""A picture of a field with a ring around each leukocyte, for people to check."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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

COLORS: Final = {"whole": (0, 114, 178), "border": (213, 94, 0), "cluster": (0, 158, 115)}
"""Colors of the rings, which color-blind people can distinguish (Okabe and Ito 2008)."""

_FOOT_PX: Final = 34
_FONT_PX: Final = 15


def draw_overlay(image: FieldPixels, found: FoundCells) -> UInt8Image:
    """Draw a numbered ring around each leukocyte, and below a line with counts and a scale bar.

    Blue rings are whole cells, orange ones are cut by the border, green ones were parted from a cell that they touch.

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
            color = COLORS["border" if cell.border else "cluster" if cell.cluster else "whole"]
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline="white", width=4)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=2)
            place = min(max(x, 12), size[0] - 12), min(max(y - radius - 10, 12), size[1] - 12)
            pen.text(place, str(number), fill=color, font=font, anchor="mm", stroke_width=2, stroke_fill="white")
        _draw_bar(pen, size, BAR_UM / found.scale.um_per_px * factor, font)
    pen.text((8, size[1] + _FOOT_PX / 2), summary(found), fill="black", font=font, anchor="lm")
    return np.asarray(picture)


def summary(found: FoundCells) -> str:
    """Return one line about a field: counts, scale, and why it is not fit for a count."""
    if found.scale is None:
        return f"{found.status}: {found.reason}"
    count = len(found.leukocytes)
    cut = f" ({found.border_cells} cut by the border)" if found.border_cells else ""
    fault = "" if found.status == "searched" else f"; {found.status}"
    return (
        f"{count} leukocyte{'s' * (count != 1)}{cut}; {found.scale.um_per_px:.3f} um per pixel "
        f"({found.scale.source}){fault}"
    )


def _draw_bar(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], length: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    right, middle = size[0] - 8, size[1] + _FOOT_PX / 2
    if length < size[0] / 3:
        pen.line((right - length, middle + 9, right, middle + 9), fill="black", width=3)
        pen.text((right, middle - 4), f"{BAR_UM} um", fill="black", font=font, anchor="rm")
