from datetime import date

import pytest

from hemabridge.data.dates import Dates, dates_in
from hemabridge.errors import InputError

LAST_OF_MARCH = date(2026, 3, 31)


@pytest.mark.parametrize(
    "name",
    ["2026-03-31", "export-20260331", "2026_03_31", "31.03.2026", "31.03.26", "31032026", "31 March 2026",
     "31. März 2026", "March 31, 2026", "03-31-2026", "2026.3.31", "31.3.2026 night"],
)  # fmt: skip
def test_the_ways_to_write_a_date(name: str) -> None:
    assert dates_in([name]).dates == (LAST_OF_MARCH,)
    assert dates_in([name]).guess == ""


def test_one_clear_date_tells_how_the_others_are_written() -> None:
    assert dates_in(["31.03.2026", "01.04.2026"]).dates == (LAST_OF_MARCH, date(2026, 4, 1))
    assert dates_in(["03-31-2026", "04-01-2026"]).dates == (LAST_OF_MARCH, date(2026, 4, 1))
    with pytest.raises(InputError, match=r"'31\.03\.2026' with the day first and '03\.31\.2026'"):
        dates_in(["31.03.2026", "03.31.2026"])


def test_a_guess_is_stated() -> None:
    found = dates_in(["01.04.2026", "02.04.2026"])
    assert found.dates == (date(2026, 4, 1), date(2026, 4, 2))
    assert found.guess.startswith("01.04.2026 can be read day first or month first")
    assert dates_in(["04.04.2026"]).guess == ""


def test_two_digits_of_a_year_at_the_beginning_are_told_by_the_other_names() -> None:
    assert dates_in(["26-03-31", "26-04-01"]) == Dates((LAST_OF_MARCH, date(2026, 4, 1)))
    assert dates_in(["31-03-26", "01-04-26"]) == Dates((LAST_OF_MARCH, date(2026, 4, 1)))
    alone = dates_in(["31-03-26"])
    assert alone.dates == (LAST_OF_MARCH,)
    assert alone.guess.startswith("31-03-26 can be read day first or year first: taken as day first")
    assert dates_in(["99-12-31"]).dates == (date(1999, 12, 31),)
    assert dates_in(["2026-03-31", "spring", "01.04.26"]).dates == (LAST_OF_MARCH, None, date(2026, 4, 1))


@pytest.mark.parametrize(
    "name", ["spring", "2026-13-45", "32.01.2026", "slide 12", "1234567890", "310326", "3126-01-01"]
)
def test_no_date(name: str) -> None:
    assert dates_in([name]).dates == (None,)
