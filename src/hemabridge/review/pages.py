"""The readers' pages as HTML, and the static files that they load."""

import hashlib
import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from hemabridge.evaluation.languages import LANGUAGES
from hemabridge.review import session
from hemabridge.review.questions import NINTHS, Asked, asked_on, sentences
from hemabridge.review.records import Question
from hemabridge.review.session import Progress, Reader
from hemabridge.review.store import Screen, Store
from hemabridge.review.texts import text

USUAL_SECONDS: Final = 8.0
"""Time per screen that is assumed before the first answer, in seconds."""

STATIC: Final = {"review.css": "text/css", "review.js": "text/javascript"}


@dataclass(frozen=True)
class StaticFile:
    """A file that pages load; `path` contains its hash, so that browsers may cache it."""

    path: str
    content: bytes
    media_type: str


def static_files() -> dict[str, StaticFile]:
    """Return style and script by name."""
    found = {}
    for name, media_type in STATIC.items():
        content = files(__package__).joinpath("static", name).read_bytes()
        path = f"/s/{hashlib.sha256(content).hexdigest()[:12]}/{name}"
        found[name] = StaticFile(path, content, media_type)
    return found


@cache
def page_environment() -> Environment:
    """Return what renders the templates of pages, all of them compiled once in a process, before the first request."""
    environment = Environment(
        loader=PackageLoader("hemabridge.review"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


class Pages:
    """Renders every page of one review.

    Attributes:
        UNDO: key that takes the last answer back, as a browser names it, and as it is shown.
        KEYS_TEXT: name of the text that explains the keys.
    """

    UNDO: ClassVar[tuple[str, str]] = ("u", "U")
    KEYS_TEXT: ClassVar[str] = "keys_text"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.settings = store.settings()
        self.static = static_files()
        self._environment = page_environment()

    def welcome(self, reader: Reader, called: str) -> str:
        """Return the first page: instructions, and what is recorded."""
        progress = session.progress_of(self.store, reader)
        return self._page(
            "welcome",
            reader.language,
            called=called,
            sentences=list(self.sentences(reader.language, progress.total)),
            keys_text=text(reader.language, self.KEYS_TEXT),
            progress=progress,
            left=_left(reader.language, progress),
        )

    def reading(self, reader: Reader, screen: Screen, *, complaint: str = "") -> str:
        """Return the page with the pictures and questions of a screen."""
        progress = session.progress_of(self.store, reader)
        following = session.next_screen(self.store, reader)
        before = session.undone_answers(self.store, reader, screen.id)
        asked = self.asked(screen, reader)
        single = len(asked) == 1 and not asked[0].several
        place = next((answer.place for answer in before.values() if answer.place is not None), None)
        return self._page(
            "reading",
            reader.language,
            screen=screen,
            asked=asked,
            single=single,
            before={item: answer.answer.split(",") for item, answer in before.items()},
            place=place,
            layout=self.layout(screen),
            captions=self.captions(screen, reader.language),
            marks=screen.asks[0][1] is Question.MORPHOLOGY,
            ninths=range(NINTHS),
            submission=secrets.token_hex(16),
            progress=progress,
            left=_left(reader.language, progress),
            last=session.last_answered(self.store, reader),
            following=following[1].pictures if following else (),
            complaint=complaint,
        )

    def sentences(self, language: str, screens: int) -> Iterable[str]:
        """Return the instructions before the first picture."""
        return sentences(language, screens)

    def asked(self, screen: Screen, reader: Reader) -> list[Asked]:
        """Return the questions of a screen with their answers."""
        return asked_on(screen, reader, str(self.settings["home"]))

    def layout(self, screen: Screen) -> str:
        """Return the class of the page's style: `pair` for two pictures side by side, else nothing."""
        return "pair" if len(screen.pictures) > 1 else ""

    def captions(self, screen: Screen, language: str) -> list[str]:
        """Return the captions of the pictures, from left to right; none for a single picture."""
        if len(screen.pictures) < 2:
            return []
        marks = screen.asks[0][1] is Question.MORPHOLOGY
        names = ("original_picture", "restained_picture") if marks else ("left_picture", "right_picture")
        return [text(language, name) for name in names]

    def pause(self, reader: Reader, *, proposed: bool) -> str:
        """Return the page of a break."""
        progress = session.progress_of(self.store, reader)
        return self._page("pause", reader.language, progress=progress, proposed=proposed)

    def part(self, reader: Reader, screen: Screen, *, practice_over: bool) -> str:
        """Return the page before the first screen with other questions."""
        questions = [text(reader.language, question.value) for _, question in screen.asks]
        return self._page("part", reader.language, questions=questions, practice_over=practice_over)

    def done(self, reader: Reader) -> str:
        """Return the last page."""
        progress = session.progress_of(self.store, reader)
        last = session.last_answered(self.store, reader)
        return self._page("done", reader.language, progress=progress, last=last)

    def message(self, language: str, what: str, *, back: str = "") -> str:
        """Return an error page for `stale`, `unknown`, `refused`, `full` or `fault`, with the link `back`."""
        return self._page("message", language, what=what, back=back)

    def _page(self, name: str, language: str, **values: Any) -> str:
        def say(key: str, **fields: object) -> str:
            return text(language, key, **fields)

        shared: Mapping[str, Any] = {
            "t": say,
            "language": language,
            "languages": LANGUAGES,
            "title": self.settings["title"],
            "css": self.static["review.css"].path,
            "js": self.static["review.js"].path,
            "undo_key": self.UNDO,
        }
        return self._environment.get_template(f"{name}.html.j2").render(**shared, **values)


def _left(language: str, progress: Progress) -> str:
    """Return the time left in words."""
    minutes = math.ceil(progress.left * (progress.seconds_each or USUAL_SECONDS) / 60)
    return text(language, "minutes_left", minutes=minutes) if minutes > 1 else text(language, "minute_left")
