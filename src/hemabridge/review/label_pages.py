"""The pages of `hemabridge label`: those of a review, for one expert who labels cells; nothing is hidden."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import ClassVar, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from hemabridge.review import session
from hemabridge.review.pages import Pages
from hemabridge.review.questions import UNSURE, Asked, Option
from hemabridge.review.reading_app import app_of
from hemabridge.review.requests import ReviewPages
from hemabridge.review.security import read_form
from hemabridge.review.session import Reader
from hemabridge.review.store import Screen, Store
from hemabridge.review.texts import text

ABOUT: Final = 4
"""Number of sentences of instruction."""


class LabelingPages(Pages):
    """Renders the pages: each screen shows a cell and, if it is larger, the whole image."""

    UNDO: ClassVar[tuple[str, str]] = ("backspace", "⌫")
    KEYS_TEXT: ClassVar[str] = "label_keys_text"

    def sentences(self, language: str, screens: int) -> Iterable[str]:
        """Return the instructions before the first picture."""
        return [text(language, f"label_about_{number}", screens=screens) for number in range(1, ABOUT + 1)]

    def asked(self, screen: Screen, reader: Reader) -> list[Asked]:
        """Return the question for the cell's class; its last answer, `unsure`, has the key U."""
        none = Option(UNSURE, text(reader.language, "label_unknown"), "u")
        return [replace(one, options=(*one.options[:-1], none)) for one in super().asked(screen, reader)]

    def layout(self, screen: Screen) -> str:
        """Return the class of the page's style."""
        return "labels" if len(screen.pictures) > 1 else ""

    def captions(self, screen: Screen, language: str) -> list[str]:
        """Return the captions of the cell and of the whole image; none if the cell fills the image."""
        names = ("label_enlarged", "label_whole") if len(screen.pictures) > 1 else ()
        return [text(language, name) for name in names]

    def done(self, reader: Reader) -> str:
        """Return the last page, on which the expert can finish or take the last answer back."""
        progress, last = session.progress_of(self.store, reader), session.last_answered(self.store, reader)
        return self._page("label_done", reader.language, progress=progress, last=last)

    def finished(self, reader: Reader) -> str:
        """Return the page after the end."""
        return self._page("label_finished", reader.language)


class LabelingRequests(ReviewPages):
    """The requests of the expert; `finished` is set when all cells are labeled and the expert says so."""

    def __init__(self, store: Store, pictures: Path, finished: Event) -> None:
        self.own = LabelingPages(store)
        super().__init__(store, pictures, self.own)
        self.ended = finished

    def welcome(self, token: str) -> Response:
        """Show the first page."""
        return HTMLResponse(self.pages.welcome(self.reader(token), ""))

    def finish(self, token: str) -> Response:
        """End the labeling, unless a cell has no label."""
        reader = self.reader(token)
        if session.current_screen(self.store, reader) is not None:
            raise HTTPException(409)
        self.ended.set()
        return HTMLResponse(self.own.finished(reader))


def make_labeling_app(store: Store, pictures: Path, finished: Event) -> FastAPI:
    """Return the application for an open store and its folder of pictures; it sets `finished` at the end."""
    requests = LabelingRequests(store, pictures, finished)
    app = app_of(requests)

    async def finish(token: str, request: Request) -> Response:
        await read_form(request)
        return await run_in_threadpool(requests.finish, token)

    app.add_api_route("/r/{token}/finish", finish, methods=["POST"], response_model=None)
    return app
