"""The arms of a review: the ways in which readers see cells, such as originals and each re-staining."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ORIGINAL: Final = "original"
"""The arm of photographs as they were taken at the source site."""

TARGET: Final = "target"
"""The arm of photographs of the target site."""


@dataclass(frozen=True)
class Picture:
    """Where the pixels of a cell are.

    Args:
        path: of the image file.
        crop_px: side of the central square; `whole` squeezes all of it; None takes that of `like` if the image is as
            large as that one, else the largest central square.
        like: the photograph that the image was made of.
    """

    path: Path
    crop_px: int | Literal["whole"] | None = None
    like: "Picture | None" = None


@dataclass(frozen=True)
class ArmCell:
    """A cell as one arm shows it: `cell`, `cell_type`, `site` as in `Item`; `name` is its path in the arm's folder."""

    cell: str
    cell_type: str
    site: str
    picture: Picture
    name: str = ""


@dataclass(frozen=True)
class Arm:
    """One way in which cells are shown.

    Args:
        name: for the key; no reader sees it.
        cells: by the cell's identity.
        of: the arm of the photographs that this one was made of; None for photographs, and for synthetic cells.
    """

    name: str
    cells: Mapping[str, ArmCell]
    of: str | None = None
