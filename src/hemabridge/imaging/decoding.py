"""Decoding of image files to RGB uint8: formats, sample depth, transparency, orientation, color profiles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hemabridge.errors import ImageError
from hemabridge.imaging.color_profile import in_srgb, profile_of_jpeg_2000
from hemabridge.imaging.declared_size import check_declared, check_size
from hemabridge.imaging.dicom import HEAD_BYTES, is_dicom, read_dicom
from hemabridge.imaging.standardizer import TILE_PIXELS, UInt8Image
from hemabridge.imaging.whole_file import FEW_BLACK_ROWS, black_rows, check_png, check_tail, ends_with_its_scan

DEPTHS: Final = (8, 10, 12, 14)
"""Bits of cameras in samples of 16 bits. The empty field of a bright-field image is almost white, so the largest value
shows the depth. `hemabridge audit` reports sites whose images differ in depth."""

Alpha: TypeAlias = Literal["straight", "premultiplied"] | None
"""The last sample: opacity, with colors that are not or are multiplied by it; None: no opacity."""

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000")
TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTH_OFFSET = 24
_EXIF_ORIENTATION = 0x0112
_SIZ = b"\xff\x4f\xff\x51"
_ASKING_PILLOW = frozenset({"adobe", "exif", "icc_profile", "progressive", "xmp"})

_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: RGB uint8[H, W, 3].
        bits: depth of the samples from which the pixels were scaled.
        stored_bits: size of a sample in the file, in bits.
        stated: whether the file states `bits`; otherwise it is the smallest depth for the file's largest value.
        gray: whether the file has one color channel.
        own_bits: the smallest depth for the file's largest value, if `stated` is false; `bits` is that of the folder.
        lost_profile: whether the file has a color profile that cannot be read.
        burned_in: whether the file says that text is burned into the pixels.
    """

    pixels: UInt8Image
    bits: int = 8
    stored_bits: int = 8
    stated: bool = True
    gray: bool = False
    own_bits: int = 8
    lost_profile: bool = False
    burned_in: bool = False

    def remarks(self) -> tuple[str, ...]:
        """Return what users of the image must know: an assumed depth, a color profile that is not used."""
        depth = f"the file does not state the depth of its samples of 16 bits: read as {self.bits} bits"
        profile = "the color profile of the file cannot be read: taken as sRGB"
        rows = black_rows(self.pixels)
        black = f"{rows} rows at an edge are black: padding, or an incomplete copy"
        burned = "the file says that text is burned into its pixels: it may name the patient"
        found = (
            (depth, not self.stated),
            (profile, self.lost_profile),
            (burned, self.burned_in),
            (black, rows >= FEW_BLACK_ROWS),
        )
        return tuple(remark for remark, is_true in found if is_true)


def decode(file: BinaryIO, where: str, bits: int | None = None) -> Decoded:
    """Decode one image file.

    Args:
        file: an open file at its beginning.
        where: the path, for messages.
        bits: the depth of samples of 16 bits whose file does not state it; None: by their largest value.

    Raises:
        ImageError: the file is empty, too large, or has several images. Decoders raise other errors, too.
        MissingExtraError: it is DICOM, and the extra `dicom` is not installed.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise ImageError(f"{where}: expected an image, the file is empty; export it again, or leave it out")
    if is_dicom(head):
        return _dicom(file, where)
    if head.startswith(TIFF_MAGIC):
        from hemabridge.imaging.tiff import read_tiff  # slow to load

        found = read_tiff(file, where)
        if found.samples is not None:
            upright = _upright(found.samples, found.orientation)
            alpha: Alpha = ("premultiplied" if found.is_premultiplied else "straight") if found.has_alpha else None
            return _deep(upright, found.white, found.icc_profile, alpha, bits)
    file.seek(0)
    with Image.open(file, formats=_FORMATS) as image:
        check_size(image.width, image.height, where)
        check_declared(image, file, where)
        if image.format in ("PNG", "WEBP", "JPEG2000"):
            (check_png if image.format == "PNG" else check_tail)(file, where)
        if image.format == "JPEG2000":
            return _jpeg_2000(image, file, where)
        # A camera's JPEG may contain previews as further frames (MPO); the first frame is the picture by definition.
        if image.format not in ("MPO", "TIFF") and getattr(image, "n_frames", 1) != 1:
            raise ImageError(
                f"{where}: expected a single image, found {getattr(image, 'n_frames', 1)} frames or pages; "
                "save them one by one"
            )
        if head.startswith(_PNG_MAGIC) and head[_PNG_BIT_DEPTH_OFFSET] == 16:
            file.seek(0)
            samples = np.asarray(imagecodecs.png_decode(file.read()))
            upright = _upright(samples, image.getexif().get(_EXIF_ORIENTATION, 1))
            return _deep(upright, None, image.info.get("icc_profile") or b"", _last_of(samples), bits)
        if (pixels := _plain_jpeg(image, file)) is not None:
            return Decoded(pixels)
        ImageOps.exif_transpose(image, in_place=True)  # without it, a copy even of an upright image
        return _shallow(image, where)


def _dicom(file: BinaryIO, where: str) -> Decoded:
    found = read_dicom(file, where)
    return Decoded(
        pixels=found.pixels,
        bits=found.bits,
        stored_bits=found.stored_bits,
        gray=found.gray,
        own_bits=found.bits,
        lost_profile=found.lost_profile,
        burned_in=found.burned_in,
    )


def _jpeg_2000(image: Image.Image, file: BinaryIO, where: str) -> Decoded:
    file.seek(0)
    content = file.read()
    profile = profile_of_jpeg_2000(content)
    if (bits := _jpeg_2000_bits(content)) > 8:  # Pillow scales deeper samples out of their range
        samples = np.asarray(imagecodecs.jpeg2k_decode(content))
        return _deep(samples, 2**bits - 1, profile, _last_of(samples))
    if profile:
        image.info["icc_profile"] = profile
    return _shallow(image, where)


def _jpeg_2000_bits(content: bytes) -> int:
    """Return the bits of the first component, as the marker SIZ of the code stream states them (ISO 15444-1, A.5.1)."""
    start = content.find(_SIZ)
    place = start + len(_SIZ) + 38  # lengths, sizes of image and tiles, number of components
    return (content[place] & 0x7F) + 1 if start >= 0 and place < len(content) else 8


def _plain_jpeg(image: Image.Image, file: BinaryIO) -> UInt8Image | None:
    """Return the pixels of a JPEG with nothing to turn or convert, without Pillow's two copies; None: ask Pillow.

    The pixels are Pillow's, by the same library. Pillow alone notices data that end early, so that it decodes all files
    whose data libjpeg could read beyond (`ends_with_its_scan`).
    """
    if image.format != "JPEG" or image.mode != "RGB" or not _ASKING_PILLOW.isdisjoint(image.info):
        return None
    file.seek(0)
    content = file.read()
    if not ends_with_its_scan(content):
        return None
    try:
        pixels: UInt8Image = imagecodecs.jpeg8_decode(content)
    except imagecodecs.Jpeg8Error:
        return None
    return pixels if pixels.shape == (image.height, image.width, 3) else None


def _shallow(image: Image.Image, where: str) -> Decoded:
    if image.mode[0] in "IF":
        raise ImageError(
            f"{where}: expected 8 or 16 bits per sample, got Pillow mode {image.mode}; export as 8-bit RGB"
        )
    gray, profile = image.mode in ("1", "L", "LA"), image.info.get("icc_profile") or b""
    if not image.has_transparency_data:
        colors, used = in_srgb(image, profile)
        return Decoded(_pixels_of(colors), gray=gray, lost_profile=not used)
    opacity = np.asarray(image.convert("RGBA"))[..., 3:]
    colors, used = in_srgb(image.convert("L" if gray else "RGB"), profile)
    pixels = np.array(colors)
    if not _is_unfilled(opacity):  # otherwise not transparency
        pixels = _to_rgb8(np.concatenate([pixels, opacity], axis=2), 255, "straight")
    return Decoded(pixels, gray=gray, lost_profile=not used)


def _pixels_of(image: Image.Image) -> UInt8Image:
    """Return RGB uint8[H, W, 3], copied in bands: Pillow makes a second copy of what it is asked for."""
    rows = max(1, TILE_PIXELS // image.width)
    if rows >= image.height:
        return np.array(image)
    pixels: UInt8Image = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        pixels[top : top + rows] = np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))
    return pixels


def _last_of(samples: NDArray[Any]) -> Alpha:
    """Return the meaning of the last sample of a PNG or JPEG 2000 image."""
    return "straight" if samples.ndim == 3 and samples.shape[2] in (2, 4) else None


def _deep(
    samples: NDArray[Any], white: int | None, profile: bytes, alpha: Alpha, assumed: int | None = None
) -> Decoded:
    """Convert samples of 8 or 16 bits to RGB uint8, scaled by their depth."""
    full = int(np.iinfo(samples.dtype).max)
    values = np.atleast_3d(samples)
    if alpha is not None and _is_unfilled(values[..., -1]):
        values, alpha = values[..., :-1], None
    has_alpha = alpha is not None
    largest = int(values[..., : values.shape[2] - has_alpha].max())
    own = next((bits for bits in DEPTHS if 0 < largest < 2**bits), 16)
    # A stated maximum of all 16 bits is usual and does not show the depth of the camera.
    stated = full == 255 or (white is not None and largest <= white < full)
    if not stated or white is None:
        white = full if full == 255 else 2 ** max(own, assumed or own) - 1
    if has_alpha and white != full:  # opacity has the depth of the colors
        values = np.minimum(values, white)
    gray, used = values.shape[2] - has_alpha == 1, True
    pixels = _to_rgb8(values, white, alpha)
    if profile:
        converted, used = in_srgb(Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if gray else pixels), profile)
        pixels = np.array(converted)
    return Decoded(pixels, int(white).bit_length(), full.bit_length(), stated, gray, own, not used)


def _is_unfilled(opacity: NDArray[Any]) -> bool:
    """Return whether all is transparent: opacity was not filled in, or is 1 instead of the largest value."""
    return int(opacity.max()) <= np.iinfo(opacity.dtype).max // 255


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply the EXIF orientation 1..8 (JEITA CP-3451, tag 274) to [H, W, ...] samples."""
    return _UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels


def _to_rgb8(values: NDArray[Any], white: int, alpha: Alpha) -> UInt8Image:
    """Convert gray or RGB samples 0..`white`, with or without opacity, to RGB uint8, over a white background."""
    height, width = values.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, TILE_PIXELS // width)
    for start in range(0, height, rows):  # numbers of 32 bits of all of a large image would fill the memory
        out[start : start + rows] = _rows_to_rgb8(values[start : start + rows], white, alpha)
    return out


def _rows_to_rgb8(values: NDArray[Any], white: int, alpha: Alpha) -> UInt8Image:
    samples = values.astype(np.float32) / white
    if alpha is not None:
        opacity = samples[..., -1:]
        colors = samples[..., :-1] if alpha == "premultiplied" else samples[..., :-1] * opacity
        samples = np.minimum(colors + (1 - opacity), 1)
    rgb = np.broadcast_to(samples, (*samples.shape[:2], 3))
    return np.rint(rgb * 255).astype(np.uint8)
