"""The HTTP requests of readers and their responses; the key is not used here."""

import re
import time
from pathlib import Path
from typing import Final, TypeAlias

from fastapi import HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hemabridge.evaluation.languages import LANGUAGES
from hemabridge.review import session
from hemabridge.review.pages import Pages
from hemabridge.review.questions import number_in, read_answers
from hemabridge.review.session import Outcome, Reader
from hemabridge.review.store import Screen, Store

OPAQUE: Final = re.compile(r"[0-9a-f]{24}")
SUBMISSION: Final = re.compile(r"[0-9a-f]{32}")
KEPT: Final = "private, max-age=3600"
"""Cache header of pictures: long enough that the next picture can be loaded in advance."""

Fields: TypeAlias = dict[str, list[str]]


class ReviewPages:
    """The requests of readers, one method for each kind."""

    def __init__(self, store: Store, pictures: Path, pages: Pages | None = None) -> None:
        self.store, self.folder = store, pictures
        self.pages = pages or Pages(store)

    def reader(self, token: str) -> Reader:
        """Return the reader of a token, or end the request; an invalid token gets the response of any wrong address."""
        found = session.reader_of(self.store, token)
        if found is None:
            raise HTTPException(404)
        return found

    def enter(self, token: str) -> Response:
        """Redirect a link without its last slash to the first page."""
        self.reader(token)
        return _see(token, "")

    def welcome(self, token: str) -> Response:
        """Show the first page."""
        reader = self.reader(token)
        return HTMLResponse(self.pages.welcome(reader, session.name_of(self.store, reader)))

    def read(self, token: str) -> Response:
        """Show the current screen, and start its time."""
        reader = self.reader(token)
        current = session.current_screen(self.store, reader)
        if current is None:
            return _see(token, "done")
        session.show(self.store, reader, current[1], time.time())
        return HTMLResponse(self.pages.reading(reader, current[1]))

    def answer(self, token: str, fields: Fields) -> Response:
        """Store the answers to the current screen, and continue."""
        reader = self.reader(token)
        screen, submission = _one(fields, "screen", OPAQUE), _one(fields, "submission", SUBMISSION)
        if screen is None or submission is None:
            raise HTTPException(400)
        current = session.current_screen(self.store, reader)
        answers = []
        if current is not None and current[1].id == screen:
            found = read_answers(current[1], reader, fields)
            if found is None:
                complaint = self.pages.reading(reader, current[1], complaint="incomplete")
                return HTMLResponse(complaint, status_code=422)
            answers = found
        outcome = session.submit(
            self.store, reader, screen, submission, answers, seconds=number_in(fields, "seconds"), now=time.time()
        )
        if outcome is Outcome.REFUSED:
            return self.stale(token)
        return _see(token, self._after(reader))

    def undo(self, token: str, fields: Fields) -> Response:
        """Undo the last answer, and show its screen again."""
        reader = self.reader(token)
        screen = _one(fields, "screen", OPAQUE)
        if screen is None:
            raise HTTPException(400)
        if not session.undo(self.store, reader, screen, time.time()):
            return self.stale(token)
        return _see(token, "read")

    def leave(self, token: str, fields: Fields) -> Response:
        """Count the time of a screen that is left without an answer."""
        reader = self.reader(token)
        screen, seconds = _one(fields, "screen", OPAQUE), number_in(fields, "seconds")
        if screen is None or seconds is None:
            raise HTTPException(400)
        session.leave(self.store, reader, screen, seconds, time.time())
        return Response(status_code=204)

    def speak(self, token: str, fields: Fields) -> Response:
        """Store the language that a reader chose."""
        reader = self.reader(token)
        language = fields.get("language", [""])[0]
        if language not in LANGUAGES:
            raise HTTPException(400)
        session.set_language(self.store, reader, language)
        return _see(token, "")

    def pause(self, token: str, *, proposed: bool) -> Response:
        """Show the page of a break."""
        return HTMLResponse(self.pages.pause(self.reader(token), proposed=proposed))

    def part(self, token: str) -> Response:
        """Show the page before a new part of the review."""
        reader = self.reader(token)
        current = session.current_screen(self.store, reader)
        if current is None:
            return _see(token, "done")
        place, screen = current
        before = session.screen_at(self.store, reader, place - 1)
        over = before is not None and before.practice and not screen.practice
        return HTMLResponse(self.pages.part(reader, screen, practice_over=over))

    def done(self, token: str) -> Response:
        """Show the last page to a reader who has no screen left."""
        reader = self.reader(token)
        if session.current_screen(self.store, reader) is not None:
            return _see(token, "read")
        return HTMLResponse(self.pages.done(reader))

    def picture(self, token: str, name: str) -> Response:
        """Send a picture, if the reader has reached its screen."""
        reader = self.reader(token)
        if OPAQUE.fullmatch(name) is None or not session.may_see(self.store, reader, name):
            raise HTTPException(404)
        # No modification time and no content hash, which would reveal repeats.
        content = (self.folder / f"{name}.png").read_bytes()
        return Response(content, media_type="image/png", headers={"cache-control": KEPT})

    def message(self, token: str, what: str) -> str:
        """Return an error page, with a link back for a reader."""
        reader = session.reader_of(self.store, token)
        if reader is None:
            return self.pages.message("en", what)
        return self.pages.message(reader.language, what, back=f"/r/{token}/read")

    def stale(self, token: str) -> Response:
        """Show the page for a form that does not belong to the current screen."""
        return HTMLResponse(self.message(token, "stale"), status_code=409)

    def _after(self, reader: Reader) -> str:
        """Return the page after an answer, usually the next screen."""
        current = session.current_screen(self.store, reader)
        if current is None:
            return "done"
        place, screen = current
        before = session.screen_at(self.store, reader, place - 1)
        if before is not None and _part(before) != _part(screen):
            return "part"
        practice = session.progress_of(self.store, reader).practice
        if place > practice and (place - practice) % int(self.pages.settings["break_every"]) == 0:
            return "rest"
        return "read"


def _part(screen: Screen) -> tuple[str, ...]:
    """Return what distinguishes the parts of a review: the practice round, and the questions."""
    return ("practice",) if screen.practice else tuple(question.value for _, question in screen.asks)


def _one(fields: Fields, name: str, form: re.Pattern[str]) -> str | None:
    """Return the only value of a field if it has the form; None otherwise."""
    given = fields.get(name, [])
    return given[0] if len(given) == 1 and form.fullmatch(given[0]) else None


def _see(token: str, page: str) -> Response:
    """Redirect the browser to a page by GET, so that reloading does not submit a form twice."""
    return RedirectResponse(f"/r/{token}/{page}", status_code=303)
