"""The base class of all normalizers: fitted on images of two sites, frozen, applied image by image, saved as JSON."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hemabridge.domain.site_profile import SiteProfiles
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.any_image import AnyImage, restained_like
from hemabridge.imaging.scale import CropSpec, WrittenCropPx
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images, by_rows, sparse
from hemabridge.normalizers.glass import Glass, white_of
from hemabridge.normalizers.image_sets import check_images, check_in_one_piece
from hemabridge.normalizers.known_colors import KnownColors
from hemabridge.normalizers.square import SquareStandardizer
from hemabridge.storage.file_kind import check_format, fault_of
from hemabridge.storage.files import expect_json_text

FORMAT: Final = 1
"""Version of a normalizer's JSON."""

MAX_JSON_CHARACTERS = 1_000_000
"""The longest JSON that is parsed; that of the largest normalizer, a color table, is about eight times shorter."""

Gain: TypeAlias = Annotated[float, Field(gt=0, le=16)]
"""A factor by which something is multiplied."""


NO_GLASS: Final = "no empty glass in the square around the cell; the site's usual white point was used"
"""Remark about an image whose white point could not be measured."""


class CellScale(BaseModel):
    """The size of the cells that a normalizer was fitted on.

    Attributes:
        source_crop_px: side of the square around a cell in the files of the source, in pixels; `whole` if whole images
            were squeezed to a square.
        target_crop_px: the same for the target; None if it is not known.
        size_px: side of the square after resizing, in pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source_crop_px: WrittenCropPx
    target_crop_px: WrittenCropPx | None = None
    size_px: Annotated[int, Field(ge=1, le=4096)]

    def crop(self) -> CropSpec:
        """Return the crop that cuts the cell from a file of the source."""
        return CropSpec(self.source_crop_px, self.size_px)


@dataclass(frozen=True)
class Measured:
    """The measurements of one image that its re-staining depends on.

    Attributes:
        white: color of the empty field, float32[3], sRGB 1..255.
        shows_glass: whether `white` was measured in the image; otherwise it is the site's.
    """

    white: NDArray[np.float32]
    shows_glass: bool


class Normalizer(BaseModel):
    """A Standardizer whose whole state is a small set of numbers.

    Each image is re-stained independently of the others. First the image is measured (`measure`), then each of its
    pixels is re-stained by these measurements (`apply`). A whole photograph can therefore be re-stained by measurements
    of the square around its cell (`standardize_by`).

    `hemabridge.fit_normalizer` makes a normalizer. It works in `torchvision.transforms.v2.Compose`, and is saved as
    JSON.

    Attributes:
        format: version of the JSON; a file without it is read as version 1.
        sites: profiles of the sites that it was fitted on, to recognize their images; not used in the re-staining.
        source_glass: the empty glass of the source, for images that show none; None if it is not known.
        cells: size of the cells that it was fitted on. If it is set, photographs are re-stained by the square around
            their cell. None if the images are cropped cells, or if the size is not known.
        note: a deviation from the usual fit, if there was one.
        faults: implausible colors that it gives to cells of the source (`plausibility.faults_of`); empty if none.

    Example:
        >>> import hemabridge as hb
        >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
        >>> cells, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["yellow-field"], 1, 64)
        >>> normalizer = hb.fit_normalizer("white-point", cells, cells)
        >>> normalizer(cells[0]).shape
        (64, 64, 3)
        >>> type(normalizer).from_json(normalizer.to_json()) == normalizer
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[1] = FORMAT
    sites: SiteProfiles | None = None
    source_glass: Glass | None = None
    cells: CellScale | None = None
    note: str = ""
    faults: tuple[str, ...] = ()

    @classmethod
    @abstractmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure both sites.

        Args:
            source: images of the site to re-stain, uint8[N, H, W, 3] RGB.
            target: images of the site whose colors are wanted, uint8[M, H', W', 3] RGB.

        Raises:
            ImageError: A set has another type or shape, or is empty.
        """

    @property
    def is_pointwise(self) -> bool:
        """Whether a pixel's new color depends only on its old color and on the measurements of the image."""
        return True

    @property
    def measures_square(self) -> bool:
        """Whether the re-staining depends on measurements of the square around a cell."""
        return True

    @cached_property
    def known_colors(self) -> KnownColors:
        """What its fixed map of colors, if it has one, made of the colors that occurred."""
        return KnownColors()

    def measure(self, square: UInt8Image) -> Measured:
        """Measure the square around a cell, uint8[H, W, 3], of any size from 1 x 1."""
        return Measured(*white_of(square, self.source_glass))

    @abstractmethod
    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return one re-stained copy, uint8[H, W, 3], of a checked RGB image, given the result of `measure`."""

    def restain(self, image: UInt8Image) -> UInt8Image:
        """Return one re-stained copy, uint8[H, W, 3], of a checked RGB image of any size from 1 x 1."""
        return self._restained_by(image, self.measure(sparse(image)))

    def standardize_by(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3], each image by measurements of the square around its cell, uint8[N, S, S, 3].

        Only for pointwise normalizers (`is_pointwise`).

        Raises:
            ImageError: a set has another type or shape.
        """
        check_images(images, "images to re-stain")
        check_images(squares, "the cells' squares")
        restained = np.empty_like(images)
        for position, (image, square) in enumerate(zip(images, squares, strict=True)):
            restained[position] = self._restained_by(image, self.measure(sparse(square)))
        return restained

    def checked(self, method: str) -> Self:
        """Return the normalizer if it gives plausible colors to the cells of the source.

        Args:
            method: its name, for the error.

        Raises:
            InputError: a compartment gets colors that it does not have at the target.
        """
        if self.faults:
            raise InputError(
                f"expected {method} to give the cells of the source colors that cells of the target have, got: "
                f"{'; '.join(self.faults)}. Check that both show the same kind of cells and that source and target are "
                "not swapped; or take another method, such as linear-ot or reinhard-compartment"
            )
        return self

    def of_photographs(self, cells: CellScale) -> Self:
        """Return the normalizer for photographs that show a cell of this size in their center."""
        return self.model_copy(update={"cells": cells})

    def of_cells(self) -> Self:
        """Return the normalizer for cropped cells, at the size of those that it was fitted on."""
        if self.cells is None:
            return self
        _ = self.known_colors  # before the copy, so that both share it
        return self.model_copy(update={"cells": None})

    def remark(self, square: UInt8Image) -> str:
        """Return a remark about the re-staining of an image, given the square around its cell; usually empty."""
        return "" if self.measure(sparse(square)).shows_glass else NO_GLASS

    def restained_by(self, image: UInt8Image, square: UInt8Image) -> tuple[UInt8Image, str]:
        """Return a re-stained copy of uint8[H, W, 3], by measurements of uint8[S, S, 3], and the remark."""
        measured = self.measure(sparse(square))
        return self._restained_by(image, measured), "" if measured.shows_glass else NO_GLASS

    def restained(self, image: UInt8Image) -> tuple[UInt8Image, str]:
        """Return a re-stained copy of uint8[H, W, 3] and the remark; the image is measured once for both."""
        if self.cells is not None:
            return SquareStandardizer(self.of_cells(), self.cells.crop()).restained(image)
        return self.restained_by(image, image)

    def _restained_by(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        if not self.is_pointwise:
            check_in_one_piece(image)
            return self.apply(image, measured)
        return by_rows(image, lambda rows: self.apply(rows, measured))

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Return uint8[N, H, W, 3] re-stained copies of uint8[N, H, W, 3] RGB images.

        Raises:
            ImageError: `images` has another type or shape.
        """
        check_images(images, "images to re-stain")
        if self.cells is not None:
            return SquareStandardizer(self.of_cells(), self.cells.crop()).standardize(images)
        restained = np.empty_like(images)
        for position, image in enumerate(images):
            restained[position] = self.restain(image)
        return restained

    def transform(self, images: UInt8Images) -> UInt8Images:
        """Do the same as `standardize`, under scikit-learn's name; in a pipeline use `hemabridge.StainNormalizer`."""
        return self.standardize(images)

    def __call__(self, image: AnyImage) -> AnyImage:
        """Re-stain one image, as a torchvision transform; the result has the type of the input.

        Args:
            image: an array uint8[H, W, 3], a PIL image or a tensor uint8[3, H, W], RGB; or a stack of one of these.

        Raises:
            ImageError: it is of another type, mode or shape.
        """
        return restained_like(self.standardize, image)

    def to_json(self) -> str:
        """Return the normalizer as JSON; floats keep full precision."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON that `to_json` wrote.

        Raises:
            ModelError: It is a path, or the text is not JSON, is too long, or does not fit this method.
        """
        expect_json_text(text, "normalizer", "open a file with hemabridge.open_model(path)", ModelError)
        if len(text) > MAX_JSON_CHARACTERS:
            raise ModelError(
                f"normalizer: expected at most {MAX_JSON_CHARACTERS:,} characters of JSON, got {len(text):,}; "
                "to_json did not write this text"
            )
        check_normalizer_format(text)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ModelError(
                f"normalizer: expected the numbers of {cls.__name__}, in {fault_of(error)}; fit it again"
            ) from error


def check_normalizer_format(text: str) -> None:
    """Raise ModelError, with what to do, if the JSON of a normalizer has a `format` that is not known.

    Text that is not a normalizer's JSON passes; the caller's parser refuses it.
    """
    try:
        found = _Version.model_validate_json(text).format
    except (ValidationError, ArithmeticError):
        return
    check_format(found, FORMAT, "normalizer: a file", "fit it again", ModelError)


class _Version(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: object = FORMAT
    method: str
