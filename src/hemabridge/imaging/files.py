"""Image files: read to RGB uint8, by content and not by name; written atomically."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag
from PIL.PngImagePlugin import PngInfo

from hemabridge.errors import ImageError, MissingExtraError
from hemabridge.imaging.declared_size import MAX_PIXELS
from hemabridge.imaging.decoding import Decoded, decode
from hemabridge.imaging.dicom import DICOM_SUFFIXES
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.imaging.threads import NO_WARNINGS
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import write_bytes

_QUALITY: Final = 95
_MOST_JPEG_PX: Final = 65_500
"""Longest side that the format JPEG has in libjpeg."""

_JPEG: tuple[str, dict[str, Any]] = ("JPEG", {"quality": _QUALITY, "subsampling": "4:4:4"})
_TIFF: tuple[str, dict[str, Any]] = ("TIFF", {"compression": "tiff_adobe_deflate"})
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jfif": _JPEG,
    ".jp2": ("JPEG2000", {"irreversible": False}),
    ".jpe": _JPEG,
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".png": ("PNG", {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": ("WEBP", {"lossless": True}),
}
WRITTEN_SUFFIXES: frozenset[str] = frozenset(_WRITERS)
"""Lower-case suffixes of files that can be written from pixels alone; a DICOM file is derived from another one."""

IMAGE_SUFFIXES: frozenset[str] = WRITTEN_SUFFIXES | DICOM_SUFFIXES | {".gif"}
"""Lower-case suffixes of files that are read as images. The format of a file is recognized by its content."""

READ_AT_ONCE: Final = 10_000_000
"""Files of up to so many bytes are read at once: faster than the many small parts that decoders ask for."""

_BESIDE = 9
_AGREEING = 3
_DEEPER: dict[int, tuple[int, ...]] = {10: (12,), 12: (14,), 14: (16,)}
"""Depths that a dark picture may have in truth: four times its largest value. No bright field is 16 times darker."""

_NO_DESCRIPTION = ("BMP", "JPEG2000")


def read_image(path: Path | str) -> UInt8Image:
    """Read one image as RGB; its format is recognized by content, not by the file name.

    Formats are JPEG, PNG, BMP, GIF, TIFF, WebP, JPEG 2000 and, with the extra `dicom`, DICOM, with one picture;
    thumbnails and smaller levels of a TIFF are ignored, and the tiles of a DICOM slide are put together. Gray, palette
    and CMYK images are converted to RGB. Transparency is blended with white, and ignored if the opacity is almost 0
    everywhere. 16-bit samples are scaled by their depth: as the file states it, else the smallest of 8, 10, 12, 14 and
    16 bits for its largest value, or the next one if most files beside it have that. EXIF orientation and the color
    profile (to sRGB) are applied.

    Args:
        path: A regular file.

    Returns:
        RGB uint8[H, W, 3], 0..255, writable and contiguous.

    Raises:
        ImageError: The file is missing, not regular, empty, not such an image, truncated, animated, of several
            pictures, of more than `MAX_PIXELS`, or of a sample type other than 1 to 8 or 16 bits.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> import hemabridge as hb
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (40, 30), 255).save(f"{folder}/cell.png")
        ...     image = hb.read_image(f"{folder}/cell.png")
        >>> image.shape, image.dtype
        ((30, 40, 3), dtype('uint8'))
    """
    return np.ascontiguousarray(read_decoded(Path(path)).pixels)


def read_decoded(path: Path) -> Decoded:
    """Read one image as `read_image` does, with the depth and channels of its file.

    If a file with samples of 16 bits does not state their depth, and most of some files beside it are one step deeper
    by their largest values, then this one is a dark picture of the same camera, and is scaled as they are.

    Raises:
        ImageError: as `read_image`.
    """
    return read_file(path)[0]


def read_file(path: Path) -> tuple[Decoded, bytes | None]:
    """Read one image as `read_decoded` does, with the bytes of its file; None for more than `READ_AT_ONCE` bytes.

    Raises:
        ImageError: as `read_image`.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise ImageError(f"{path}: expected an image file, found {what}; check the path")
    held: list[bytes] = []

    def decoded_of(_: Path, bits: int | None = None) -> Decoded:
        if not held and path.stat().st_size <= READ_AT_ONCE:
            held.append(path.read_bytes())
        return decoded_from(BytesIO(held[0]), path, bits) if held else _decoded(path, bits)

    decoded = at_depth_beside(path, decoded_of, lambda: _depth_beside(path.parent, path.suffix))
    return decoded, held[0] if held else None


def at_depth_beside(path: Path, decoded_of: Callable[..., Decoded], depth_beside: Callable[[], int | None]) -> Decoded:
    """Decode a file, at the depth of those beside it if that is the likely one; see `read_decoded`.

    Args:
        path: of the file, for messages.
        decoded_of: decodes a path, at a given depth if one is stated.
        depth_beside: returns the depth of the files beside it; None if they do not agree.

    Raises:
        ImageError: as `read_image`.
    """
    try:
        decoded = decoded_of(path)
        if not decoded.stated and (bits := depth_beside()) in _DEEPER.get(decoded.bits, ()):
            return decoded_of(path, bits)
        return decoded
    except ImageError:
        raise
    except MissingExtraError as error:  # of one image, like other reasons why it cannot be read
        raise ImageError(str(error)) from error
    except Image.DecompressionBombError as error:  # raised before the size is known
        raise ImageError(
            f"{path}: expected 1 to {MAX_PIXELS:,} pixels, the header says far more; crop or shrink the image"
        ) from error
    except Exception as error:  # decoders raise almost every type of error for invalid bytes
        raise ImageError(
            f"{path}: expected a whole JPEG, PNG, BMP, GIF, TIFF, WebP, JPEG 2000 or DICOM image, could not decode it "
            f"({_cause(error)}); export the image again, or leave it out"
        ) from error


def _decoded(path: Path, bits: int | None = None) -> Decoded:
    with path.open("rb") as file:
        return decoded_from(file, path, bits)


def decoded_from(file: BinaryIO, path: Path, bits: int | None) -> Decoded:
    """Decode an open file as `decode` does, without the warnings of decoders."""
    # Decoders warn of images below our limit, and of damage that they then report as an error.
    with NO_WARNINGS:
        return decode(file, str(path), bits)


@lru_cache(maxsize=256)
def _depth_beside(folder: Path, suffix: str) -> int | None:
    return common_depth([path for path in folder.iterdir() if path.suffix == suffix], _decoded)


def common_depth(paths: Iterable[Path], decoded_of: Callable[[Path], Decoded]) -> int | None:
    """Return the depth of most of some files that do not state it; None if they do not agree."""
    names = sorted(paths)
    found: Counter[int] = Counter()
    for place in evenly_spaced(len(names), _BESIDE, ends=True):
        with contextlib.suppress(Exception):  # a damaged file is reported when it is read itself
            decoded = decoded_of(names[place])
            found.update([] if decoded.stated else [decoded.bits])
    bits, count = found.most_common(1)[0] if found else (None, 0)
    return bits if count >= _AGREEING and 3 * count >= 2 * found.total() else None


def reason_of(error: Exception, path: Path) -> str:
    """Return the message of an error without the path at its beginning, for output beside the file's name."""
    return str(error).removeprefix(f"{path}: ")


def write_image(path: Path, image: UInt8Image, *, description: str = "") -> str:
    """Write RGB uint8[H, W, 3] atomically in the format of the suffix, without metadata except the description.

    JPEG is written with quality 95 and 4:4:4 chroma, TIFF with deflate, WebP and JPEG 2000 without loss. The file is
    encoded in memory, so that a full disk never leaves an incomplete picture.

    Args:
        path: The file to write.
        image: RGB uint8[H, W, 3].
        description: One line of ASCII for the tag ImageDescription, in PNG also for the text chunk Description. BMP
            and JPEG 2000 cannot store it.

    Returns:
        SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Raises:
        ImageError: The format cannot be written, or cannot store the description; or `image` is not uint8[H, W, 3] with
            at least one pixel.
    """
    content = encoded_image(path, image, description=description)
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def encoded_image(path: Path, image: UInt8Image, *, description: str = "") -> bytes | memoryview:
    """Return the bytes that `write_image` writes for the suffix of a path; nothing is written.

    Raises:
        ImageError: as `write_image`.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ImageError(f"{path}: expected one of the suffixes {', '.join(sorted(_WRITERS))}; rename the output")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"{path}: expected RGB uint8[H, W, 3] to write, got {image.dtype}{list(image.shape)}")
    image_format, options = _WRITERS[path.suffix.lower()]
    if description and image_format in _NO_DESCRIPTION:
        raise ImageError(
            f"{path}: expected a format that can store {description[:40]!r} beside the pixels, got {image_format}; "
            "use the suffix .png"
        )
    if image_format == "JPEG" and not description and max(image.shape) <= _MOST_JPEG_PX:
        # The same bytes as Pillow's, by the same library, without two copies of the pixels.
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(image), level=_QUALITY, subsampling="444"))
    encoded = BytesIO()
    options = options | _described(image_format, description)
    Image.fromarray(np.ascontiguousarray(image)).save(encoded, format=image_format, **options)
    return encoded.getbuffer()


def _cause(error: Exception) -> str:
    """Return the message of a decoder, without the objects and paths that some add."""
    if isinstance(error, UnidentifiedImageError):
        return "by its content it is none of these"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _described(image_format: str, description: str) -> dict[str, Any]:
    """Return the writer's options for a description."""
    if not description:
        return {}
    exif = Image.Exif()
    exif[ExifTag.ImageDescription] = description
    options: dict[str, Any] = {"exif": exif}
    if image_format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Description", description)
    return options
