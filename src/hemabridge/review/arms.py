"""The arms of a review: the sets of pictures that are compared, such as originals and each re-staining."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ORIGINAL: Final = "original"
"""The arm of the source site's original photographs."""

TARGET: Final = "target"
"""The arm of the target site's photographs."""


@dataclass(frozen=True)
class Picture:
    """The image file of a cell, and the part of it that is shown.

    Args:
        path: of the image file.
        crop_px: side of the central square in pixels; `whole` for the whole image, resized to a square; None for the
            square of `like` if the image has the same size, else for the largest central square.
        like: the photograph that the image was made from.
    """

    path: Path
    crop_px: int | Literal["whole"] | None = None
    like: "Picture | None" = None


@dataclass(frozen=True)
class ArmCell:
    """A cell in one arm; `cell`, `cell_type`, `site` as in `Item`; `name` is its path in the arm's folder."""

    cell: str
    cell_type: str
    site: str
    picture: Picture
    name: str = ""


@dataclass(frozen=True)
class Arm:
    """One set of pictures that is compared with others.

    Args:
        name: of the arm, for the key; it is not shown to readers.
        cells: by the cell's identity.
        of: the arm of the photographs that this one was made from; None for photographs and for synthetic cells.
    """

    name: str
    cells: Mapping[str, ArmCell]
    of: str | None = None
