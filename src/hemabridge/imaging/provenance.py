"""Where a synthetic image comes from, written into its file so that it survives the loss of its manifest.

The mark is one line of ASCII that every container keeps as it is: in PNG the text chunk `Description` and the EXIF tag
ImageDescription, in TIFF the tag ImageDescription (270). It is looked for in the bytes of a file, not through a
decoder: then it is found wherever another program put it when it copied the metadata into another format (EXIF of a
JPEG, XMP), and there is nothing that a damaged or hostile file could break. A program that throws metadata away throws
the mark away too.
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
"""Lower-case suffixes that a synthetic image may have: formats that lose no pixel and keep a description."""

SEARCHED_BYTES = 64 * 2**20
"""Files up to this size are searched whole, of larger ones only the first and the last half of it."""

_SHA256 = r"[0-9a-f]{64}"
_MAX_RECIPE = 300
_DETAILS = rf" model=(unknown|{_SHA256}) source=(unknown|{_SHA256}) recipe=([A-Za-z0-9._~%-]{{1,{_MAX_RECIPE}}})"
ORIGIN_PATTERN = rf"^(|synthetic|synthetic{_DETAILS})$"
"""What may stand in the column `origin` of a manifest; nothing for an image that no model made."""

_TAG = "hemabridge image: "
_END = ";"  # what follows in a file may look like more of the recipe's name
_IN_FILE = re.compile(rf"{_TAG}synthetic(?:{_DETAILS}{_END})?".encode())


@dataclass(frozen=True)
class SyntheticOrigin:
    """How an image was made that shows no cell that ever was.

    Attributes:
        model_sha256: of the file of the model that drew it, 64 lower-case hexadecimal digits; empty if unknown.
        source_sha256: of the file of the real image that it was drawn from, the same way.
        recipe: name of the recipe, 1 to about 300 printable characters; empty if unknown.

    Raises:
        ImageError: a hash or the name is something else.
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
        """Return the origin as one line of ASCII, as the column `origin` of a manifest holds it."""
        known = (self.model_sha256, self.source_sha256, quote(self.recipe, safe=""))
        model, source, recipe = (text or "unknown" for text in known)
        return f"{self.kind} model={model} source={source} recipe={recipe}"


def origin_of_text(text: str) -> SyntheticOrigin | None:
    """Return what a cell of the column `origin` says; None for the empty text, which is that of a real image.

    Raises:
        ImageError: the text is no origin.
    """
    if not text:
        return None
    match = re.fullmatch(rf"synthetic(?:{_DETAILS})?", text)
    if match is None:
        raise ImageError(f"expected the origin of a synthetic image, or nothing, got {text[:80]!r}")
    return _origin(match.groups())


def write_synthetic(path: Path, image: UInt8Image, origin: SyntheticOrigin) -> None:
    """Write a synthetic image atomically, with its origin inside of the file.

    Args:
        path: PNG or TIFF.
        image: RGB uint8[H, W, 3].
        origin: what is written beside the pixels.

    Raises:
        ImageError: another suffix, or not such an image.
    """
    if path.suffix.lower() not in SYNTHETIC_SUFFIXES:
        raise ImageError(
            f"{path}: expected {', '.join(sorted(SYNTHETIC_SUFFIXES))} for a synthetic image, whose origin must "
            f"stay in the file, got {path.suffix!r}; rename the output"
        )
    write_image(path, image, description=_TAG + origin.as_text() + _END)


def mark_of(path: Path) -> str:
    """Return the mark of a file, for `write_image` to keep in what is made of it; empty for a real image."""
    origin = read_origin(path)
    return "" if origin is None else _TAG + origin.as_text() + _END


def read_origin(path: Path) -> SyntheticOrigin | None:
    """Return the origin that an image's file carries; None if it carries none, or cannot be read.

    A mark whose details are damaged is still a mark: the origin is then unknown, but not real.
    """
    try:
        if not path.is_file():  # a pipe would keep the reader waiting
            return None
        with path.open("rb") as file:
            content = file.read(SEARCHED_BYTES // 2)
            file.seek(max(len(content), path.stat().st_size - SEARCHED_BYTES // 2))
            content += file.read(SEARCHED_BYTES // 2)
    except OSError:
        return None
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
