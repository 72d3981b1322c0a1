"""Image files: read by content into RGB uint8, written whole or not at all."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag
from PIL.PngImagePlugin import PngInfo

from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.storage.files import atomic_write

IMAGE_SUFFIXES: frozenset[str] = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""Lower-case suffixes of files that are looked at as images. What a file is, its content decides."""

MAX_PIXELS = 100_000_000
"""The largest width x height that is read, so that a small file cannot fill the memory."""

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTH_OFFSET = 24
_PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF")
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".png": ("PNG", {}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}
WRITTEN_SUFFIXES: frozenset[str] = frozenset(_WRITERS)
"""Lower-case suffixes of files that can be written; the others of `IMAGE_SUFFIXES` can only be read."""

_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def read_image(path: Path) -> UInt8Image:
    """Read one image as RGB, whatever its name says it is.

    JPEG, PNG, BMP, GIF and TIFF of one page; gray, palette and CMYK become RGB; transparency is laid over white;
    16-bit samples are divided by 257; EXIF orientation is applied; color profiles are not.

    Args:
        path: A regular file.

    Returns:
        RGB uint8[H, W, 3], 0..255, writable and contiguous.

    Raises:
        ImageError: The file is missing, not regular, empty, not such an image, truncated, animated, of several
            pages, of more than `MAX_PIXELS`, or of a sample type other than 1 to 8 or 16 bits.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise ImageError(f"{path}: expected an image file, found {what}; check the path")
    try:
        # The decoder warns below the limit that is ours.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            return np.ascontiguousarray(_decode(file, path))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # raised before the size can be asked for
        raise ImageError(
            f"{path}: expected 1 to {MAX_PIXELS:,} pixels, the header says far more; crop or shrink the image"
        ) from error
    except Exception as error:  # decoders fed hostile bytes raise nearly every type there is
        raise ImageError(
            f"{path}: expected a whole JPEG, PNG, BMP, GIF or TIFF image, could not decode it ({_cause(error)}); "
            "export the image again, or leave it out"
        ) from error


def reason_of(error: Exception, path: Path) -> str:
    """Return what an error says of a file, without the path at its beginning, to be shown beside the file's name."""
    return str(error).removeprefix(f"{path}: ")


def write_image(path: Path, image: UInt8Image, *, description: str = "") -> None:
    """Write RGB uint8[H, W, 3] atomically in the format of the suffix; no metadata but the description.

    JPEG is written with quality 95 and 4:4:4 chroma, TIFF with deflate.

    Args:
        path: The file to write.
        image: RGB uint8[H, W, 3].
        description: One line of ASCII to keep in the file: the tag ImageDescription, in PNG also the text chunk
            Description. BMP has no place for it.

    Raises:
        ImageError: The suffix has no writer, or none that can keep a description that is given; or `image` is not
            uint8[H, W, 3] with at least one pixel.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ImageError(f"{path}: expected one of the suffixes {', '.join(sorted(_WRITERS))}; rename the output")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"{path}: expected RGB uint8[H, W, 3] to write, got {image.dtype}{list(image.shape)}")
    image_format, options = _WRITERS[path.suffix.lower()]
    if description and image_format == "BMP":
        raise ImageError(
            f"{path}: expected a format that can keep {description[:40]!r} beside the pixels, got BMP; name it .png"
        )
    with atomic_write(path) as temporary:
        options = options | _described(image_format, description)
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format=image_format, **options)


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


def _decode(file: BinaryIO, path: Path) -> UInt8Image:
    head = file.read(_PNG_BIT_DEPTH_OFFSET + 1)
    file.seek(0)
    if not head:
        raise ImageError(f"{path}: expected an image, the file is empty; export it again, or leave it out")
    if head.startswith(_TIFF_MAGIC) and (deep := _decode_deep_tiff(file, path)) is not None:
        return deep
    file.seek(0)
    with Image.open(file, formats=_PILLOW_FORMATS) as image:
        _check_size(image.width, image.height, path)
        # A camera's JPEG may carry previews as further frames (MPO): the first is the picture by definition.
        if image.format != "MPO":
            _check_single(getattr(image, "n_frames", 1), path)
        if head.startswith(_PNG_MAGIC) and head[_PNG_BIT_DEPTH_OFFSET] == 16:
            file.seek(0)
            return _to_rgb8(_upright(imagecodecs.png_decode(file.read()), image.getexif().get(0x0112, 1)))
        return _pillow_to_rgb(ImageOps.exif_transpose(image), path)


def _decode_deep_tiff(file: BinaryIO, path: Path) -> UInt8Image | None:
    """Read a TIFF of 16-bit samples; None where the samples have 8 bits or fewer, which Pillow reads."""
    with tifffile.TiffFile(file) as tiff:
        _check_single(len(tiff.pages), path)
        page = tiff.pages[0].aspage()
        _check_size(page.imagewidth, page.imagelength, path)
        if page.bitspersample <= 8:
            return None
        if page.dtype != np.uint16 or page.imagedepth != 1 or page.samplesperpixel > 4:
            raise ImageError(
                f"{path}: expected 1 to 4 samples of 8 or 16 bits per pixel, got {page.samplesperpixel} of "
                f"{page.dtype}; export the image as 8-bit RGB"
            )
        photometric = tifffile.PHOTOMETRIC(page.photometric)
        if photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            raise ImageError(f"{path}: expected 16-bit gray or RGB, got {photometric.name}; export it as 8-bit RGB")
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        orientation = page.tags.get("Orientation")
        return _to_rgb8(_upright(pixels, 1 if orientation is None else int(orientation.value)))


def _check_size(width: int, height: int, path: Path) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageError(
            f"{path}: expected 1 to {MAX_PIXELS:,} pixels, the header says {width} x {height}; crop or shrink the image"
        )


def _check_single(count: int, path: Path) -> None:
    if count == 0:
        raise ImageError(f"{path}: expected a single image, found none; the file is damaged, export it again")
    if count != 1:
        raise ImageError(f"{path}: expected a single image, found {count} frames or pages; save them one by one")


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply the EXIF orientation 1..8 (JEITA CP-3451, tag 274) to [H, W, ...] samples."""
    return _UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels


def _pillow_to_rgb(image: Image.Image, path: Path) -> UInt8Image:
    if image.mode[0] in "IF":
        raise ImageError(f"{path}: expected 8 or 16 bits per sample, got Pillow mode {image.mode}; export as 8-bit RGB")
    if image.has_transparency_data:
        return _to_rgb8(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _to_rgb8(pixels: NDArray[Any]) -> UInt8Image:
    """Turn uint8 or uint16 gray, gray+alpha, RGB or RGBA samples into RGB uint8, transparency over white."""
    full = np.iinfo(pixels.dtype).max
    samples = np.atleast_3d(pixels).astype(np.float32) / full
    if samples.shape[2] in (2, 4):
        alpha = samples[..., -1:]
        samples = samples[..., :-1] * alpha + (1 - alpha)
    rgb = np.broadcast_to(samples, (*samples.shape[:2], 3))
    return np.rint(rgb * 255).astype(np.uint8)
