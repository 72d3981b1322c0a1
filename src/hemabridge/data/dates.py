"""Dates in the names of folders. The names are read together: one of them can settle the order of day and month."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from hemabridge.errors import InputError

_YEAR_FIRST: Final = re.compile(r"(?<!\d)(\d{4})([-_. /]?)(\d{1,2})\2(\d{1,2})(?!\d)")
_YEAR_LAST: Final = re.compile(r"(?<!\d)(\d{1,2})([-_. ])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_YEAR_LAST_TOGETHER: Final = re.compile(r"(?<!\d)(\d{2})(\d{2})((?:19|20)\d{2})(?!\d)")
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("jan ene", "feb", "mar mär mrz", "apr abr", "may mai", "jun", "jul", "aug ago", "sep set", "oct okt", "nov",
         "dec dez dic"), 1,
    )
    for name in names.split()
}  # fmt: skip
_NAMED_MONTH: Final = re.compile(r"(?<!\d)(?:(\d{1,2})[-_. ]*)([^\W\d_]{3,12})[-_., ]*(\d{4})(?!\d)")
_MONTH_FIRST: Final = re.compile(r"(?<![^\W\d_])([^\W\d_]{3,12})[-_. ]+(\d{1,2})[-_., ]+(\d{4})(?!\d)")


@dataclass(frozen=True)
class Dates:
    """The date in each name, None where there is none; `guess` states an ambiguity that was decided, else empty."""

    dates: tuple[date | None, ...]
    guess: str = ""


def dates_in(names: Sequence[str]) -> Dates:
    """Return the date in each name.

    Formats are `2026-03-31`, `20260331`, `31.03.2026`, `31-3-26`, `31032026` and `31 March 2026`. If the year comes
    last, one name that is valid in one order of day and month alone decides the order for all names. If there is no
    such name, the day comes first, and `guess` states it.

    Raises:
        InputError: one name can only be read day first, and another one only month first.
    """
    found = [_readings(name) for name in names]
    day_only = [name for name, both in zip(names, found, strict=True) if both[0] and not both[1]]
    month_only = [name for name, both in zip(names, found, strict=True) if both[1] and not both[0]]
    if day_only and month_only:
        raise InputError(
            f"expected dates in one format, got {day_only[0]!r} with the day first and {month_only[0]!r} with the "
            "month first; write them as 2026-03-31"
        )
    dates = tuple((both[1] if month_only else both[0]) for both in found)
    open_names = [name for name, both in zip(names, found, strict=True) if both[0] and both[1] and both[0] != both[1]]
    guess = ""
    if open_names and not day_only and not month_only:
        guess = f"{open_names[0]} can be read day first or month first: taken as day first; write 2026-03-31 to be sure"
    return Dates(dates, guess)


def _readings(name: str) -> tuple[date | None, date | None]:
    """Return the date in a name if the day comes first, and the date if the month comes first."""
    certain = _year_first(name) or _with_named_month(name)
    if certain is not None:
        return certain, certain
    for pattern in (_YEAR_LAST, _YEAR_LAST_TOGETHER):
        for match in pattern.finditer(name):
            parts = [int(part) for part in match.groups() if part.isdecimal()]
            both = _date(parts[2], parts[1], parts[0]), _date(parts[2], parts[0], parts[1])
            if any(both):
                return both
    return None, None


def _year_first(name: str) -> date | None:
    found = (_date(int(match[1]), int(match[3]), int(match[4])) for match in _YEAR_FIRST.finditer(name))
    return next((one for one in found if one is not None), None)


def _with_named_month(name: str) -> date | None:
    for match in _NAMED_MONTH.finditer(name):
        if month := _MONTHS.get(match[2][:3].lower()):
            return _date(int(match[3]), month, int(match[1]))
    for match in _MONTH_FIRST.finditer(name):
        if month := _MONTHS.get(match[1][:3].lower()):
            return _date(int(match[3]), month, int(match[2]))
    return None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(2000 + year if year < 100 else year, month, day)
    except ValueError:
        return None
