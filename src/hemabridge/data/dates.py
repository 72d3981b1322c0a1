"""Dates in the names of folders. The names are read together: one of them can settle the order of day and month."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from hemabridge.errors import InputError

_YEAR_FIRST: Final = re.compile(r"(?<!\d)(?:(\d{4})([-_. /])(\d{1,2})\2(\d{1,2})|(\d{4})(\d{2})(\d{2}))(?!\d)")
_SHORT_YEAR_FIRST: Final = re.compile(r"(?<!\d)(\d{2})([-_])(\d{1,2})\2(\d{1,2})(?!\d)")
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


_YEARS: Final = range(1900, 2100)
_CENTURY: Final = 70
"""Two digits of a year from here on are those of the 20th century."""
_MANY_DAYS: Final = 3653
"""A reading by which the names lie more than ten years apart gives way to one by which they do not."""

_Readings = tuple[date | None, date | None, date | None]


@dataclass(frozen=True)
class Dates:
    """The date in each name, None where there is none; `guess` states an ambiguity that was decided, else empty."""

    dates: tuple[date | None, ...]
    guess: str = ""


def dates_in(names: Sequence[str]) -> Dates:
    """Return the date in each name.

    Formats are `2026-03-31`, `20260331`, `31.03.2026`, `31-3-26`, `26-03-31`, `31032026` and `31 March 2026`; years are
    1900 to 2099. If the year comes last, one name that is valid in one order of day and month alone decides the order
    for all names. If there is no such name, the day comes first, and `guess` states it. Two digits are taken for a year
    at the beginning only if the names then lie within ten years, and otherwise do not.

    Raises:
        InputError: two names with dates have no order in common.
    """
    found = [_readings(name) for name in names]
    dated = [(name, each) for name, each in zip(names, found, strict=True) if any(each)]
    orders = [order for order in range(3) if all(each[order] for _, each in dated)]
    if not orders:
        raise InputError(_no_common_order(dated))
    order, *others = sorted(orders, key=lambda one: (_span(dated, one) > _MANY_DAYS, one))
    dates = tuple(each[order] for each in found)
    rivals = [one for one in others if _span(dated, one) <= _MANY_DAYS or _span(dated, order) > _MANY_DAYS]
    return Dates(dates, _guess(dated, order, rivals))


def _guess(dated: Sequence[tuple[str, _Readings]], order: int, rivals: Sequence[int]) -> str:
    """Return what was decided between several orders, for the first name that they read differently."""
    words = ("day first", "month first", "year first")
    for name, each in dated:
        other = next((rival for rival in rivals if each[rival] != each[order]), None)
        if other is not None:
            both = " or ".join(words[one] for one in sorted((order, other)))
            return f"{name} can be read {both}: taken as {words[order]}; write 2026-03-31 to be sure"
    return ""


def _no_common_order(dated: Sequence[tuple[str, _Readings]]) -> str:
    words = ("the day first", "the month first", "the year first")
    for name, each in dated:
        own = next(order for order in range(3) if each[order])
        for other, found in dated:
            if not found[own]:
                theirs = next(order for order in range(3) if found[order])
                return (
                    f"expected dates in one format, got {name!r} with {words[own]} and {other!r} with {words[theirs]}; "
                    "write them as 2026-03-31"
                )
    return "expected dates in one format; write them as 2026-03-31"


def _span(dated: Sequence[tuple[str, _Readings]], order: int) -> int:
    days = [each[order].toordinal() for _, each in dated if each[order] is not None]  # type: ignore[union-attr]
    return max(days) - min(days) if days else 0


def _readings(name: str) -> _Readings:
    """Return the date in a name if the day, the month or the year comes first."""
    certain = _year_first(name) or _with_named_month(name)
    if certain is not None:
        return certain, certain, certain
    for pattern in (_YEAR_LAST, _YEAR_LAST_TOGETHER):
        for match in pattern.finditer(name):
            parts = [int(part) for part in match.groups() if part.isdecimal()]
            both = _date(parts[2], parts[1], parts[0]), _date(parts[2], parts[0], parts[1])
            short = _SHORT_YEAR_FIRST.match(name, match.start())
            all_three = (*both, None if short is None else _date(int(short[1]), int(short[3]), int(short[4])))
            if any(all_three):
                return all_three
    return None, None, None


def _year_first(name: str) -> date | None:
    for match in _YEAR_FIRST.finditer(name):
        year, month, day = (int(part) for part in match.groups() if part and part.isdecimal())
        if found := _date(year, month, day):
            return found
    return None


def _with_named_month(name: str) -> date | None:
    for match in _NAMED_MONTH.finditer(name):
        if month := _MONTHS.get(match[2][:3].lower()):
            return _date(int(match[3]), month, int(match[1]))
    for match in _MONTH_FIRST.finditer(name):
        if month := _MONTHS.get(match[1][:3].lower()):
            return _date(int(match[3]), month, int(match[2]))
    return None


def _date(year: int, month: int, day: int) -> date | None:
    whole = year if year >= 100 else 1900 + year if year >= _CENTURY else 2000 + year
    try:
        return date(whole, month, day) if whole in _YEARS else None
    except ValueError:
        return None
