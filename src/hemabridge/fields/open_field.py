"""Open a field of any format that is read, by its content or the suffix of a slide."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hemabridge.errors import ImageError
from hemabridge.fields.dicom_image import open_dicom
from hemabridge.fields.field_image import FieldImage
from hemabridge.fields.slide_image import SLIDE_SUFFIXES, open_slide
from hemabridge.fields.tiff_image import open_tiff
from hemabridge.imaging.decoding import TIFF_MAGIC
from hemabridge.imaging.dicom import HEAD_BYTES, is_dicom
from hemabridge.imaging.files import read_image
from hemabridge.imaging.reader import SentImages

FURTHER_SUFFIXES: Final = SLIDE_SUFFIXES | {".btf", ".tf8"}
"""Lower-case suffixes of files that are read as fields but not as images of cells."""

ON_THE_DISK: Final = "put it into a folder and use `hemabridge differential MODEL FIELDS OUT`"
"""What to do with a field that is read from the disk alone."""


@contextmanager
def open_field(path: Path) -> Iterator[FieldImage]:
    """Open a field; a large one is read part by part while it is open.

    JPEG, PNG, BMP, GIF, WebP, JPEG 2000 and small TIFF files are read as by `read_image`; large TIFF files, BigTIFF,
    pyramids and OME-TIFF tile by tile; DICOM with the extra `dicom`; files of slide scanners with the extra `slides`.

    Args:
        path: the file.

    Raises:
        ImageError: it cannot be read.
        MissingExtraError: its format needs an extra.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from hemabridge.fields.open_field import open_field
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (640, 480)).save(f"{folder}/field.tif", dpi=(254_000, 254_000))
        ...     with open_field(Path(folder, "field.tif")) as field:
        ...         print(field.pixels.shape, field.um_per_px)
        (480, 640, 3) 0.1
    """
    if not path.is_file():
        raise ImageError(f"{path}: expected the file of a field, found {'a folder' if path.exists() else 'nothing'}")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_dicom(head):
        yield open_dicom(path)
    elif path.suffix.lower() in SLIDE_SUFFIXES:
        with open_slide(path) as field:
            yield field
    elif head.startswith(TIFF_MAGIC):
        with open_tiff(path) as field:
            yield field
    else:
        yield FieldImage(read_image(path))


@contextmanager
def open_sent_field(path: Path, sent: SentImages, name: str) -> Iterator[FieldImage]:
    """Open a field that is in memory, as `open_field` opens its file.

    DICOM and files of slide scanners are not read, and no field has more than `MAX_PIXELS`.

    Args:
        path: of the field among the files in memory.
        sent: these files.
        name: of the file that was sent, of which the suffix tells a slide.

    Raises:
        ImageError: it cannot be read.

    Example:
        >>> from io import BytesIO
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from hemabridge.fields.open_field import open_sent_field
        >>> from hemabridge.imaging.reader import SentImages
        >>> file = BytesIO()
        >>> Image.new("RGB", (640, 480)).save(file, "TIFF", dpi=(254_000, 254_000))
        >>> path = Path("field.tif")
        >>> with open_sent_field(path, SentImages({path: file.getvalue()}), "field.tif") as field:
        ...     print(field.pixels.shape, field.um_per_px)
        (480, 640, 3) 0.1
    """
    content = sent.contents[path]
    if is_dicom(content[:HEAD_BYTES]):
        raise ImageError(f"{path}: expected an image or a TIFF file, got DICOM; {ON_THE_DISK}")
    if Path(name).suffix.lower() in SLIDE_SUFFIXES:
        raise ImageError(f"{path}: expected an image or a TIFF file, got that of a slide scanner; {ON_THE_DISK}")
    if content.startswith(TIFF_MAGIC):
        with open_tiff(path, sent) as field:
            yield field
    else:
        yield FieldImage(sent.read(path))
