"""The pages on which an expert checks a differential count: a gallery by class, and each cell in its field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

from fastapi import HTTPException
from PIL import Image, ImageDraw

from hemabridge.evaluation.differential_results import (
    NO_CELL,
    OTHER,
    ClassShare,
    CountedCell,
    DifferentialResults,
)
from hemabridge.evaluation.languages import LANGUAGES, cell_type_name, stored_in
from hemabridge.review.corrections import Corrections
from hemabridge.review.pages import page_environment, static_files
from hemabridge.review.texts import text

CONTEXT_UM: Final = 60.0
"""Side of the part of the field around a cell, in micrometers."""

FIELD_PX: Final = 512
"""Side of the picture of this part in pixels."""

KINDS: Final = ("cell", "restained", "field")
_PICTURE: Final = re.compile(r"(cell|restained|field)-(\d{1,6})")


@dataclass(frozen=True)
class Choice:
    """A class that can be chosen: its value, its label and its key."""

    value: str
    label: str
    key: str


class Checking:
    """A count that an expert checks.

    Attributes:
        results: the count without corrections.
        folder: of the count.
        corrections: the open store.
        who: name of the expert.
        token: secret part of the address.
        language: of the pages.
        finished: set when the expert has finished.
    """

    def __init__(
        self, results: DifferentialResults, folder: Path, corrections: Corrections, who: str, token: str, language: str
    ) -> None:
        self.results, self.folder, self.corrections = results, folder, corrections
        self.who, self.token, self.language = who, token, language
        self.finished = Event()
        self._lock = Lock()
        self._counted: tuple[Mapping[str, str], tuple[ClassShare, ...]] | None = None

    def now(self) -> DifferentialResults:
        """Return the count with all corrections."""
        return self.results.corrected(self.corrections.answers())

    def shares(self) -> tuple[ClassShare, ...]:
        """Return the shares with all corrections; they are worked out once for each state of the corrections."""
        answers = self.corrections.answers()
        with self._lock:
            if self._counted is None or self._counted[0] != answers:
                self._counted = answers, self.results.corrected(answers).shares()
            return self._counted[1]

    def last(self) -> int | None:
        """Return the number of the cell to which this expert gave a class last that still counts."""
        path = self.corrections.last(self.who)
        numbers = (number for number, cell in enumerate(self.results.cells) if cell.path == path)
        return next(numbers, None)

    def correct(self, number: int, class_name: str | None) -> None:
        """Store the class of a cell, None to take it back."""
        cell = self.now().cells[number]
        self.corrections.add(self.who, cell.path, class_name, cell.class_name)


class CheckPages:
    """Renders the pages."""

    def __init__(self, checking: Checking) -> None:
        self.checking = checking
        self.static = static_files()
        self._environment = page_environment()

    def gallery(self) -> str:
        """Return the page of all cells by class, the least certain first, with the count."""
        done = self.checking.now()
        groups = []
        for name in self._names(done):
            own = [(number, cell) for number, cell in enumerate(done.cells) if cell.class_name == name]
            groups.append((self._label(name), sorted(own, key=_uncertain_first)))
        return self._page(
            "check_gallery",
            done=done,
            shares=self.checking.shares(),
            groups=groups,
            places=_places(_order(done)),
            following=self._following(done, -1),
            last=self.checking.last(),
        )

    def cell(self, number: int) -> str:
        """Return the page of one cell."""
        done = self.checking.now()
        order = _order(done)
        place = order.index(number)
        return self._page(
            "check_cell",
            cell=done.cells[number],
            number=number,
            places=_places(order),
            total=len(done.cells),
            previous=order[place - 1] if place else None,
            following=order[place + 1] if place + 1 < len(order) else None,
            choices=self.choices(),
            last=self.checking.last(),
            done=done,
            raw=[(one.name, one.counted) for one in self.checking.shares()],
        )

    def finish(self) -> str:
        """Return the last page."""
        return self._page("check_finished")

    def message(self, _: str, what: str) -> str:
        """Return an error page; it states no cause."""
        return self._page("message", what=what, back="")

    def choices(self) -> list[Choice]:
        """Return the answers that an expert can give for a cell."""
        names = self.checking.results.classes
        own = [Choice(name, self._label(name), str(place) if place < 10 else "") for place, name in enumerate(names, 1)]
        return [*own, Choice(OTHER, self._label(OTHER), "o"), Choice(NO_CELL, self._label(NO_CELL), "x")]

    def after(self, number: int) -> int | None:
        """Return the cell to check next: the least certain one of the same predicted class that nobody has seen."""
        return self._following(self.checking.now(), number)

    def picture(self, name: str) -> bytes:
        """Return a picture of a cell as PNG.

        Raises:
            HTTPException: 404 if there is none.
        """
        found = _PICTURE.fullmatch(name)
        cells = self.checking.results.cells
        if found is None or int(found[2]) >= len(cells):
            raise HTTPException(404)
        cell = cells[int(found[2])]
        if found[1] == "field":
            return self._in_field(cell)
        path = cell.path if found[1] == "cell" else cell.restained
        return _read(self.checking.folder, path)

    def _in_field(self, cell: CountedCell) -> bytes:
        """Return the surroundings of a cell, which is framed."""
        field = next(one for one in self.checking.results.fields if one.field == cell.field)
        content = _read(self.checking.folder, field.overlay)
        with Image.open(BytesIO(content)) as picture:
            factor = picture.width / (field.width or picture.width)
            half = CONTEXT_UM / 2 / cell.um_per_px * factor
            x, y = cell.x * factor, cell.y * factor
            own = picture.convert("RGB").crop((0, 0, picture.width, round((field.height or picture.height) * factor)))
            part = own.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
        shown = part.resize((FIELD_PX, FIELD_PX))
        frame = FIELD_PX * (1 - 22.0 / CONTEXT_UM) / 2
        pen = ImageDraw.Draw(shown)
        pen.rectangle((frame, frame, FIELD_PX - frame, FIELD_PX - frame), outline="black", width=6)
        pen.rectangle((frame + 2, frame + 2, FIELD_PX - frame - 2, FIELD_PX - frame - 2), outline="white", width=2)
        buffer = BytesIO()
        shown.save(buffer, "PNG")
        return buffer.getvalue()

    def _following(self, done: DifferentialResults, number: int) -> int | None:
        open_cells = [
            (place, cell)
            for place, cell in enumerate(done.cells)
            if cell.expert is None and not cell.left_out and place != number
        ]
        if not open_cells:
            return None
        own = [pair for pair in open_cells if number >= 0 and pair[1].predicted == done.cells[number].predicted]
        return min(own or open_cells, key=_uncertain_first)[0]

    def _names(self, done: DifferentialResults) -> list[str]:
        extra = [name for name in (OTHER, NO_CELL) if any(cell.class_name == name for cell in done.cells)]
        return [*done.classes, *extra]

    def _label(self, name: str) -> str:
        language = self.checking.language
        own = {OTHER: "check_other", NO_CELL: "check_none"}
        return text(language, own[name]) if name in own else cell_type_name(language, name)

    def _page(self, name: str, **values: Any) -> str:
        language = self.checking.language

        def say(key: str, **fields: object) -> str:
            return text(language, key, **fields)

        return self._environment.get_template(f"{name}.html.j2").render(
            t=say,
            language=language,
            languages=LANGUAGES,
            title=say("check_title", folder=self.checking.results.folder),
            css=self.static["review.css"].path,
            js=self.static["review.js"].path,
            base=f"/r/{self.checking.token}/",
            label=self._label,
            percent=_percent,
            why=lambda reason: stored_in(language, reason),
            **values,
        )


def _uncertain_first(numbered: tuple[int, CountedCell]) -> tuple[bool, bool, float]:
    _, cell = numbered
    return bool(cell.left_out), cell.expert is not None, cell.probability


def _order(done: DifferentialResults) -> list[int]:
    """Return the numbers of the cells in the order of the gallery of the predicted classes."""
    places = {name: place for place, name in enumerate(done.classes)}

    def key(numbered: tuple[int, CountedCell]) -> tuple[int, bool, float]:
        _, cell = numbered
        return places[cell.predicted], bool(cell.left_out), cell.probability

    return [number for number, _ in sorted(enumerate(done.cells), key=key)]


def _places(order: list[int]) -> dict[int, int]:
    """Return the place from 1 of each cell in an order."""
    return {number: place for place, number in enumerate(order, start=1)}


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise HTTPException(404)
    return path.read_bytes()


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
