"""Image files: read by content into RGB uint8, written whole or not at all."""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag
from PIL.PngImagePlugin import PngInfo

from hemabridge.errors import ImageError
from hemabridge.imaging.decoding import MAX_PIXELS, Decoded, decode
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.storage.files import write_bytes

_JPEG: tuple[str, dict[str, Any]] = ("JPEG", {"quality": 95, "subsampling": "4:4:4"})
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
"""Lower-case suffixes of files that can be written; the others of `IMAGE_SUFFIXES` can only be read."""

IMAGE_SUFFIXES: frozenset[str] = WRITTEN_SUFFIXES | {".gif"}
"""Lower-case suffixes of files that are looked at as images. What a file is, its content decides."""

_NO_DESCRIPTION = ("BMP", "JPEG2000")


def read_image(path: Path | str) -> UInt8Image:
    """Read one image as RGB, whatever its name says it is.

    JPEG, PNG, BMP, GIF, TIFF, WebP and JPEG 2000 of one picture; a TIFF's thumbnails and smaller levels are left out.
    Gray, palette and CMYK become RGB. Transparency is laid over white; opacity of nearly 0 everywhere is
    ignored. 16-bit samples are scaled by the depth that they were taken with: as the file states it, else the fewest of
    8, 10, 12, 14 and 16 bits that hold its largest value. EXIF orientation and the color profile (to sRGB) are applied.

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
    """Read one image as `read_image` does, with what its file says of depth and color.

    Raises:
        ImageError: as `read_image`.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise ImageError(f"{path}: expected an image file, found {what}; check the path")
    try:
        # The decoder warns below the limit that is ours.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            return decode(file, str(path))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # raised before the size can be asked for
        raise ImageError(
            f"{path}: expected 1 to {MAX_PIXELS:,} pixels, the header says far more; crop or shrink the image"
        ) from error
    except Exception as error:  # decoders fed hostile bytes raise nearly every type there is
        raise ImageError(
            f"{path}: expected a whole JPEG, PNG, BMP, GIF, TIFF, WebP or JPEG 2000 image, could not decode it "
            f"({_cause(error)}); export the image again, or leave it out"
        ) from error


def reason_of(error: Exception, path: Path) -> str:
    """Return what an error says of a file, without the path at its beginning, to be shown beside the file's name."""
    return str(error).removeprefix(f"{path}: ")


def write_image(path: Path, image: UInt8Image, *, description: str = "") -> str:
    """Write RGB uint8[H, W, 3] atomically in the format of the suffix; no metadata but the description.

    JPEG is written with quality 95 and 4:4:4 chroma, TIFF with deflate, WebP and JPEG 2000 without loss. The file is
    encoded in memory, so that a full disk is an error and never half a picture.

    Args:
        path: The file to write.
        image: RGB uint8[H, W, 3].
        description: One line of ASCII to keep in the file: the tag ImageDescription, in PNG also the text chunk
            Description. BMP and JPEG 2000 have no place for it.

    Returns:
        SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Raises:
        ImageError: The suffix has no writer, or none that can keep a description that is given; or `image` is not
            uint8[H, W, 3] with at least one pixel.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ImageError(f"{path}: expected one of the suffixes {', '.join(sorted(_WRITERS))}; rename the output")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"{path}: expected RGB uint8[H, W, 3] to write, got {image.dtype}{list(image.shape)}")
    image_format, options = _WRITERS[path.suffix.lower()]
    if description and image_format in _NO_DESCRIPTION:
        raise ImageError(
            f"{path}: expected a format that can keep {description[:40]!r} beside the pixels, got {image_format}; "
            "name it .png"
        )
    encoded = BytesIO()
    options = options | _described(image_format, description)
    Image.fromarray(np.ascontiguousarray(image)).save(encoded, format=image_format, **options)
    write_bytes(path, encoded.getbuffer())
    return hashlib.sha256(encoded.getbuffer()).hexdigest()


def _cause(error: Exception) -> str:
    """Return a decoder's words, without the objects and paths that some put among them."""
    if isinstance(error, UnidentifiedImageError):
        return "by its content it is none of these"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _described(image_format: str, description: str) -> dict[str, Any]:
    """Return the writer's options that keep a description."""
    if not description:
        return {}
    exif = Image.Exif()
    exif[ExifTag.ImageDescription] = description
    options: dict[str, Any] = {"exif": exif}
    if image_format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Description", description)
    return options
