"""The mark of a synthetic image in its file, which states its origin even without a manifest.

The mark is one line of ASCII: in PNG the text chunk `Description` and the EXIF tag ImageDescription, in TIFF the tag
ImageDescription (270). It is searched in the bytes of a file, not by a decoder. So it is found wherever another program
has copied the metadata (EXIF of a JPEG, XMP), and a damaged or hostile file has no decoder to attack. A program that
removes metadata removes the mark.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import quote, unquote

from hemabridge.errors import ImageError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Image

SYNTHETIC_SUFFIXES: frozenset[str] = frozenset({".png", ".tif", ".tiff"})
"""Lower-case suffixes of synthetic images: lossless formats that can store a description."""

SEARCHED_BYTES = 64 * 2**20
"""Largest size of a file that is searched completely; of a larger one, half of it at each end is searched."""

_SHA256 = r"[0-9a-f]{64}"
_MAX_RECIPE = 300
_DETAILS = rf" model=(unknown|{_SHA256}) source=(unknown|{_SHA256}) recipe=([A-Za-z0-9._~%-]{{1,{_MAX_RECIPE}}})"
ORIGIN_PATTERN = rf"^(|synthetic|synthetic{_DETAILS})$"
"""Permitted content of the column `origin` of a manifest; empty for a real image."""

_TAG = "hemabridge image: "
_END = ";"  # the following bytes of a file may be valid characters of a name
_IN_FILE = re.compile(rf"{_TAG}synthetic(?:{_DETAILS}{_END})?".encode())


@dataclass(frozen=True)
class SyntheticOrigin:
    """The origin of a synthetic image.

    Attributes:
        model_sha256: SHA-256 of the model's file, 64 lower-case hexadecimal digits; empty if unknown.
        source_sha256: SHA-256 of the source image's file, likewise.
        recipe: name of the recipe, 1 to about 300 printable characters; empty if unknown.

    Raises:
        ImageError: a hash or the name is not valid.
    """

    kind: ClassVar[Literal["synthetic"]] = "synthetic"

    model_sha256: str = ""
    source_sha256: str = ""
    recipe: str = ""

    def __post_init__(self) -> None:
        for digest in (self.model_sha256, self.source_sha256):
            if digest and not re.fullmatch(_SHA256, digest):
                raise ImageError(f"expected a SHA-256 of 64 lower-case hexadecimal digits, got {digest[:80]!r}")
        if not self.recipe.isprintable() or len(quote(self.recipe, safe="")) > _MAX_RECIPE:
            raise ImageError(
                f"expected a recipe's name of printable characters, at most {_MAX_RECIPE} as in a web address, got "
                f"{self.recipe[:80]!r}; give the recipe a shorter name"
            )

    def as_text(self) -> str:
        """Return the origin as one line of ASCII, as in the column `origin` of a manifest."""
        known = (self.model_sha256, self.source_sha256, quote(self.recipe, safe=""))
        model, source, recipe = (text or "unknown" for text in known)
        return f"{self.kind} model={model} source={source} recipe={recipe}"


def origin_of_text(text: str) -> SyntheticOrigin | None:
    """Return the origin from a text of the column `origin`; None for the empty text of a real image.

    Raises:
        ImageError: the text is not an origin.
    """
    if not text:
        return None
    match = re.fullmatch(rf"synthetic(?:{_DETAILS})?", text)
    if match is None:
        raise ImageError(f"expected the origin of a synthetic image, or nothing, got {text[:80]!r}")
    return _origin(match.groups())


def write_synthetic(path: Path, image: UInt8Image, origin: SyntheticOrigin) -> None:
    """Write a synthetic image atomically, with the mark of its origin in the file.

    Args:
        path: PNG or TIFF.
        image: RGB uint8[H, W, 3].
        origin: the origin for the mark.

    Raises:
        ImageError: another suffix, or another type of image.
    """
    if path.suffix.lower() not in SYNTHETIC_SUFFIXES:
        raise ImageError(
            f"{path}: expected {', '.join(sorted(SYNTHETIC_SUFFIXES))} for a synthetic image, whose origin must "
            f"stay in the file, got {path.suffix!r}; rename the output"
        )
    write_image(path, image, description=_TAG + origin.as_text() + _END)


def mark_of(path: Path) -> str:
    """Return the mark of a file, as `description` of `write_image` for images made from it; empty for a real image."""
    return _mark(read_origin(path))


def mark_in(content: bytes) -> str:
    """Return the same as `mark_of` for the content of a file."""
    half = SEARCHED_BYTES // 2
    return _mark(_origin_in(content[:half] + content[max(half, len(content) - half) :]))


def _mark(origin: SyntheticOrigin | None) -> str:
    return "" if origin is None else _TAG + origin.as_text() + _END


def read_origin(path: Path) -> SyntheticOrigin | None:
    """Return the origin in the mark of an image's file; None without a mark, or if the file cannot be read.

    A mark with damaged details gives a synthetic image of unknown origin.
    """
    try:
        if not path.is_file():  # reading a pipe would block
            return None
        with path.open("rb") as file:
            content = file.read(SEARCHED_BYTES // 2)
            file.seek(max(len(content), path.stat().st_size - SEARCHED_BYTES // 2))
            content += file.read(SEARCHED_BYTES // 2)
    except OSError:
        return None
    return _origin_in(content)


def _origin_in(content: bytes) -> SyntheticOrigin | None:
    match = _IN_FILE.search(content)
    if match is None:
        return None
    return _origin(tuple(None if group is None else group.decode() for group in match.groups()))


def _origin(details: tuple[str | None, ...]) -> SyntheticOrigin:
    model, source, recipe = ("" if detail in (None, "unknown") else str(detail) for detail in details)
    try:
        return SyntheticOrigin(model, source, unquote(recipe))
    except ImageError:
        return SyntheticOrigin(model, source)
