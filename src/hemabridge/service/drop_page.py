"""The page on which images are dropped, and the style and script that it loads."""

import hashlib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

STATIC: Final = {"drop.css": "text/css", "drop.js": "text/javascript"}


class PageFile(NamedTuple):
    """A file of the page; the path of style and script has their hash, so that browsers may keep them."""

    path: str
    content: bytes
    media_type: str


def page_files(operations: Iterable[str], *, needs_token: bool) -> Iterator[PageFile]:
    """Yield the page for the operations of a service, and what it loads."""
    paths = {}
    for name, media_type in STATIC.items():
        content = files(__package__).joinpath("static", name).read_bytes()
        paths[name] = f"/s/{hashlib.sha256(content).hexdigest()[:12]}/{name}"
        yield PageFile(paths[name], content, media_type)
    yield PageFile("/favicon.ico", b"", "image/x-icon")
    environment = Environment(
        loader=PackageLoader("hemabridge.service"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("drop.html.j2").render(
        operations=tuple(operations), needs_token=needs_token, css=paths["drop.css"], js=paths["drop.js"]
    )
    yield PageFile("/", html.encode(), "text/html; charset=utf-8")
