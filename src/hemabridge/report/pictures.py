"""The images that a report shows, and their encoding within one file."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.standardizer import UInt8Image

LARGEST_SIDE_PX = 160
"""Larger images are resized to this side for the page; smaller ones are unchanged."""


@dataclass(frozen=True, eq=False)
class CellStrip:
    """One cell of the source site: the original, and the result of each method or snapshot.

    Attributes:
        id: its path in the manifest.
        true_class: by name.
        original: uint8[H, W, 3].
        restained: uint8[H, W, 3] by the snapshot's name (by the method's name where it has no snapshots), in the order
            in which they are shown.
        truth: uint8[H, W, 3], the same cell as the target site would show it; simulated sites only.

    Raises:
        ValueError: an image is not uint8[H, W, 3].
    """

    id: str
    true_class: str
    original: UInt8Image
    restained: Mapping[str, UInt8Image]
    truth: UInt8Image | None = None

    def __post_init__(self) -> None:
        for image in (self.original, *self.restained.values(), *(() if self.truth is None else (self.truth,))):
            _check_image(image)


@dataclass(frozen=True, eq=False)
class ChangedCell:
    """A cell that re-staining rescued or broke for at least one classifier, without labels.

    Attributes:
        id: its path in the manifest.
        true_class: by name.
        original: uint8[H, W, 3].
        restained: uint8[H, W, 3].
        rescued: classifier, what it said of the original, what it said of the re-stained cell, for each one that was
            wrong on the original and right on the re-stained cell.
        broken: the same for each one that was right and then wrong.
    """

    id: str
    true_class: str
    original: UInt8Image
    restained: UInt8Image
    rescued: tuple[tuple[str, str, str], ...]
    broken: tuple[tuple[str, str, str], ...]

    def __post_init__(self) -> None:
        _check_image(self.original)
        _check_image(self.restained)


@dataclass(frozen=True, eq=False)
class RefusedCell:
    """A cell whose re-staining the morphology guard refused.

    Attributes:
        id: its path in the manifest.
        true_class: by name.
        restained_by: method and snapshot.
        original: uint8[H, W, 3].
        restained: uint8[H, W, 3].
        change: uint8[H, W, 3], as `hemabridge.guard.leftover.draw_change` draws what color does not explain.
        reasons: names of measures, worst first.
    """

    id: str
    true_class: str
    restained_by: tuple[str, str | None]
    original: UInt8Image
    restained: UInt8Image
    change: UInt8Image
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        for image in (self.original, self.restained, self.change):
            _check_image(image)


@dataclass(frozen=True)
class LossCurve:
    """One loss term of the training: `values[i]` after `images_seen[i]` images."""

    name: str
    images_seen: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.images_seen) != len(self.values):
            raise ValueError(
                f"expected one value per point of {self.name!r}, got {len(self.values)} for {len(self.images_seen)}"
            )


@dataclass(frozen=True, eq=False)
class StudyPictures:
    """All pictures of a study: cells of the source, cells of the target's test part, training losses if there are any.

    `changed` are cells that the re-staining named `changed_by`, as in `CellStrip.restained`, rescued or broke;
    `refused` are cells whose re-staining the morphology guard refused.

    Raises:
        ValueError: the cells were not all re-stained by the same methods, or a target cell is not uint8[H, W, 3].
    """

    cells: tuple[CellStrip, ...]
    target_cells: tuple[UInt8Image, ...]
    losses: tuple[LossCurve, ...] = field(default=())
    changed: tuple[ChangedCell, ...] = ()
    changed_by: str | None = None
    refused: tuple[RefusedCell, ...] = ()

    def __post_init__(self) -> None:
        for image in self.target_cells:
            _check_image(image)
        for cell in self.cells[1:]:
            if tuple(cell.restained) != tuple(self.cells[0].restained):
                raise ValueError(
                    f"expected every cell re-stained by {', '.join(self.cells[0].restained)}, "
                    f"got {', '.join(cell.restained)} for {cell.id}"
                )


def image_uri(image: UInt8Image) -> str:
    """Return uint8[H, W, 3] as a `data:` URI of a PNG, at most `LARGEST_SIDE_PX` wide and high."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((LARGEST_SIDE_PX, LARGEST_SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def data_uri(content: bytes, media_type: str) -> str:
    """Return a file's content as a `data:` URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"expected an image uint8[H, W, 3], got {image.dtype}{list(image.shape)}")
