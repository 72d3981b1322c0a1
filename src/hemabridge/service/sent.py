"""The images of a request, from its body alone: `multipart/form-data` (RFC 7578), or one image. Nothing is written."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from hemabridge.errors import InputError
from hemabridge.imaging.dicom import HEAD_BYTES, is_dicom
from hemabridge.imaging.files import IMAGE_SUFFIXES
from hemabridge.imaging.reader import KEPT_BYTES, SentImages

FIELD: Final = "images"
"""Name of the field of a form that holds the images."""

LONGEST_PART_HEADER: Final = 4_096
LONGEST_NAME: Final = 200

_BOUNDARY: Final = re.compile(r"[ -~]{0,69}[!-~]")
_MAGIC: Final = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"BM", ".bmp"),
    (b"GIF8", ".gif"),
    (b"II", ".tif"),
    (b"MM", ".tif"),
    (b"RIFF", ".webp"),
    (b"\x00\x00\x00\x0cjP", ".jp2"),
    (b"\xff\x4f\xff\x51", ".jp2"),
)


@dataclass(frozen=True)
class Sent:
    """One image of a request: its name, and the bytes of its file."""

    name: str
    content: bytes

    @property
    def suffix(self) -> str:
        """The suffix of its name, or else what its first bytes say; `.png` if they say nothing."""
        dot = self.name.rfind(".")
        if dot > 0 and self.name[dot:].lower() in IMAGE_SUFFIXES:
            return self.name[dot:]
        if is_dicom(self.content[:HEAD_BYTES]):
            return ".dcm"
        return next((suffix for magic, suffix in _MAGIC if self.content.startswith(magic)), ".png")


class SentFolder:
    """The images of a request as if they were the files of a folder, in the order of their names.

    Args:
        sent: the images.
        kept_bytes: so many bytes of decoded pixels are kept at most.

    Attributes:
        order: of each path, the place of its image in the request.
        paths: of the images, in the order of their names.
        images: reads them.
    """

    def __init__(self, sent: Sequence[Sent], kept_bytes: int = KEPT_BYTES) -> None:
        self.order = sorted(range(len(sent)), key=lambda place: (sent[place].name, place))
        self.paths = [Path(f"{rank:05d}", f"image{sent[place].suffix}") for rank, place in enumerate(self.order)]
        contents = {path: sent[place].content for path, place in zip(self.paths, self.order, strict=True)}
        self.images = SentImages(contents, kept_bytes)


def images_of(body: bytes, content_type: str, most: int) -> list[Sent]:
    """Return the images of a request in their order.

    Args:
        body: of the request.
        content_type: its header; `multipart/form-data`, or `image/...` for a body that is one image.
        most: largest number of images.

    Raises:
        InputError: it is neither of both, it is not complete, or there is no image or too many.
    """
    header = Message()
    header["content-type"] = content_type
    if header.get_content_maintype() == "image" and body:
        return [Sent("image", body)]
    boundary = header.get_boundary() or ""
    if header.get_content_type() != "multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
        raise InputError(
            "expected multipart/form-data with images and a boundary, or one image with its media type, got "
            f"{header.get_content_type()}; as curl sends it: --form images=@cell.png"
        )
    found = list(_parts(body, b"\r\n--" + boundary.encode("ascii"), most))
    if not found:
        raise InputError("expected at least one image, got a form without any")
    return found


def _parts(body: bytes, delimiter: bytes, most: int) -> Iterator[Sent]:
    """Yield the parts of a form; what stands before the first and after the last delimiter is ignored."""
    first = delimiter[2:]
    place = 0 if body.startswith(first) else body.find(delimiter) + 2
    if place == 1:
        raise InputError("expected a form with the boundary that its header states, got another")
    place += len(first)
    number = 0
    while not body.startswith(b"--", place):
        end = body.find(delimiter, place)
        if end < 0:
            raise InputError("expected a whole form, got one that ends within a part; send it again")
        number += 1
        if number > most:
            raise InputError(f"expected at most {most} images in a request, got more; send several requests")
        yield _part(body, place, end, number)
        place = end + len(delimiter)


def _part(body: bytes, start: int, end: int, number: int) -> Sent:
    head = body.find(b"\r\n\r\n", start, min(end, start + LONGEST_PART_HEADER))
    line_end = body.find(b"\r\n", start, end)
    if head < 0 or body[start:line_end].strip(b" \t"):
        raise InputError(f"expected headers of at most {LONGEST_PART_HEADER:,} bytes before image {number}, got others")
    try:
        headers = HeaderParser().parsestr(body[line_end + 2 : head + 4].decode("utf-8", "replace"))
        name = headers.get_filename() or ""
        kind, field = headers.get_content_maintype(), headers.get_param("name", header="content-disposition")
    except (MessageError, ValueError, LookupError) as error:
        raise InputError(f"expected the headers of image {number}, got others") from error
    if field != FIELD or (not name and kind != "image"):
        raise InputError(
            f"expected a form with images as its field {FIELD}, got another as part {number}; leave it out"
        )
    return Sent(_plain(name) or f"image-{number}", body[head + 4 : end])


def _plain(name: str) -> str:
    """Return the last part of a file's name, as text that can be printed."""
    text = re.split(r"[/\\]", name)[-1]
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    return text[-LONGEST_NAME:]


async def read_body(request: Request, most: int, *, keep: bool) -> bytes:
    """Read the body of a request, or only take it off the line.

    Raises:
        HTTPException: 413 if it is too large, 400 if the client ends it early.
    """
    too_large = HTTPException(413, f"expected at most {most:,} bytes; send fewer images in each request")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise too_large
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            if keep:
                parts.append(part)
    except ClientDisconnect as error:
        raise HTTPException(400, "expected a whole request, the client ended it early") from error
    return b"".join(parts)
