"""Pictures in DICOM files: one frame, or the tiles of a slide, as RGB in sRGB. Needs the extra `dicom`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.errors import HemabridgeError, ImageError, MissingExtraError
from hemabridge.imaging.color_profile import in_srgb
from hemabridge.imaging.declared_size import check_size
from hemabridge.imaging.standardizer import UInt8Image

DICOM_SUFFIXES: Final = frozenset({".dcm", ".dicom"})
"""Lower-case suffixes of DICOM files."""

HEAD_BYTES: Final = 132
"""Bytes at the beginning of a file that show whether it is DICOM (PS3.10 7.1)."""

Source: TypeAlias = Path | BinaryIO

_MARK: Final = b"DICM"
_DAMAGED: Final = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class DicomPicture:
    """The picture of a DICOM file.

    Attributes:
        pixels: RGB uint8[H, W, 3], in sRGB.
        bits: depth of its samples.
        stored_bits: size of a sample in the file, in bits.
        gray: whether the file has one color channel.
        lost_profile: whether the file has a color profile that cannot be read.
        burned_in: whether the file says that text is burned into the pixels.
    """

    pixels: UInt8Image
    bits: int
    stored_bits: int
    gray: bool
    lost_profile: bool
    burned_in: bool


def is_dicom(head: bytes) -> bool:
    """Return whether a file with these `HEAD_BYTES` is DICOM."""
    return head[HEAD_BYTES - len(_MARK) : HEAD_BYTES] == _MARK


def read_attributes(source: Source, where: str) -> Any:
    """Return the data set of a DICOM file without its pixels.

    Raises:
        ImageError: it is no DICOM file, or it is damaged.
        MissingExtraError: pydicom is not installed.
    """
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{where}: DICOM files need pydicom: pip install 'hemabridge[dicom]'") from error
    try:
        return pydicom.dcmread(source, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, *_DAMAGED) as error:
        raise damaged(where, error) from error


def read_dicom(file: BinaryIO, where: str) -> DicomPicture:
    """Read the picture of an open DICOM file: one frame, or all tiles of a slide.

    Args:
        file: at any place.
        where: the path, for messages.

    Raises:
        ImageError: it is damaged, too large, has no picture, or several that are not tiles of one.
        MissingExtraError: pydicom is not installed.
    """
    file.seek(0)
    data = read_attributes(file, where)
    try:
        if "TotalPixelMatrixRows" in data:
            pixels, used = _tiles(file, data, where)
        else:
            check_single(data, where)
            check_size(int(data.Columns), int(data.Rows), where)
            pixels, used = frame_rgb(file, data, 0, where)
        gray = int(data.SamplesPerPixel) == 1 and data.PhotometricInterpretation != "PALETTE COLOR"
        depth = int(data.BitsStored), int(data.BitsAllocated)
        return DicomPicture(pixels, *depth, gray, not used, data.get("BurnedInAnnotation", "") == "YES")
    except _DAMAGED as error:
        raise damaged(where, error) from error


def check_single(data: Any, where: str) -> None:
    """Check that a file has one frame.

    Raises:
        ImageError: it has several.
    """
    count = int(data.get("NumberOfFrames", 1) or 1)
    if count != 1:
        raise ImageError(
            f"{where}: expected one picture, or the tiles of a slide, found {count} frames; save them one by one"
        )


def frame_rgb(source: Source, data: Any, number: int, where: str) -> tuple[UInt8Image, bool]:
    """Decode one frame as RGB uint8[h, w, 3] in sRGB, and return whether its color profile could be used.

    Raises:
        ImageError: it cannot be decoded.
    """
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    try:
        if not isinstance(source, Path):
            source.seek(0)
        samples: NDArray[Any] = pixel_array(source, index=number)
        is_palette = data.PhotometricInterpretation == "PALETTE COLOR"
        if is_palette:
            samples = apply_color_lut(samples, data)
        white = int(np.iinfo(samples.dtype).max) if is_palette else 2 ** int(data.BitsStored) - 1
        pixels = as_rgb(samples, white)
        if data.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
        profile = _profile_of(data)
    except _DAMAGED as error:
        raise damaged(where, error) from error
    if not profile:
        return pixels, True
    converted, used = in_srgb(Image.fromarray(pixels), profile)
    return np.array(converted), used


def frame_places(data: Any) -> dict[tuple[int, int], int]:
    """Return the frame of a slide at each top and left: as stated for each, or row by row (TILED_FULL)."""
    height, width = int(data.Rows), int(data.Columns)
    stated = data.get("PerFrameFunctionalGroupsSequence")
    if stated and data.get("DimensionOrganizationType", "") != "TILED_FULL":
        places = [group.PlanePositionSlideSequence[0] for group in stated]
        return {
            (
                int(place.RowPositionInTotalImagePixelMatrix) - 1,
                int(place.ColumnPositionInTotalImagePixelMatrix) - 1,
            ): number
            for number, place in enumerate(places)
        }
    rows, columns = -(-int(data.TotalPixelMatrixRows) // height), -(-int(data.TotalPixelMatrixColumns) // width)
    return {(row * height, column * width): row * columns + column for row in range(rows) for column in range(columns)}


def stated_spacing_mm(data: Any) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm that a file states (PS3.3 10.7.1.3); None if it states none."""
    shared = data.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    spacing = measures[0].get("PixelSpacing") if measures else data.get("PixelSpacing")
    if spacing:
        return float(spacing[0]), float(spacing[1])
    if {"ImagedVolumeWidth", "ImagedVolumeHeight", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"} <= set(
        data.dir()
    ):
        height = float(data.ImagedVolumeHeight) / int(data.TotalPixelMatrixRows)
        return height, float(data.ImagedVolumeWidth) / int(data.TotalPixelMatrixColumns)
    return None


def as_rgb(samples: NDArray[np.generic], white: int) -> UInt8Image:
    """Return gray or RGB samples [h, w] or [h, w, C] of 0..`white` as RGB uint8[h, w, 3]; others are left out."""
    values = np.atleast_3d(samples)
    values = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
    if values.dtype != np.uint8 or white != 255:
        values = np.rint(np.minimum(values.astype(np.float32) / white, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def damaged(where: str, error: Exception) -> HemabridgeError:
    """Return the error of a file that pydicom cannot read; an error of ours stays as it is."""
    if isinstance(error, HemabridgeError):
        return error
    return ImageError(f"{where}: expected a whole DICOM image, could not read it ({error}); export it again")


def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB as DICOM asks for it: of the class of input devices (PS3.3 C.11.15.1.1)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"scnr"
    profile[24:36] = b"\x07\xd0\x00\x01\x00\x01" + bytes(6)  # its date, 2000-01-01: equal pictures are equal files
    return bytes(profile)


def _tiles(file: BinaryIO, data: Any, where: str) -> tuple[UInt8Image, bool]:
    """Put the frames of a slide together; white where there is none."""
    height, width = int(data.TotalPixelMatrixRows), int(data.TotalPixelMatrixColumns)
    check_size(width, height, where)
    pixels: UInt8Image = np.full((height, width, 3), 255, np.uint8)
    used = True
    for (top, left), number in frame_places(data).items():
        part = pixels[top : top + int(data.Rows), left : left + int(data.Columns)]
        frame, used = frame_rgb(file, data, number, where)
        part[...] = frame[: part.shape[0], : part.shape[1]]
    return pixels, used


def _profile_of(data: Any) -> bytes:
    """Return the ICC profile of an image, or of the light path of a slide; empty if there is none."""
    paths = data.get("OpticalPathSequence")
    profile = data.get("ICCProfile") or (paths[0].get("ICCProfile") if paths else None)
    return bytes(profile or b"")
