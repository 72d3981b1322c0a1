import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hemabridge.sampling import evenly_spaced, thinned

LENGTHS, COUNTS = st.integers(0, 3000), st.integers(0, 400)


@given(LENGTHS, COUNTS, st.booleans())
@example(199, 100, False)  # a stride of 199 // 100 = 1 took the first 100
@example(199, 100, True)
def test_as_many_as_asked_for_in_order_and_each_once(n_items: int, count: int, ends: bool) -> None:
    places = evenly_spaced(n_items, count, ends=ends)
    assert len(places) == min(n_items, count)
    assert np.all(np.diff(places) > 0)
    assert np.all((places >= 0) & (places < n_items))


@given(st.integers(1, 3000), st.integers(1, 400))
@example(199, 100)
def test_each_equal_part_of_a_list_is_represented_by_one(n_items: int, count: int) -> None:
    some = min(n_items, count)
    parts = (evenly_spaced(n_items, count) * some + some - 1) // n_items
    np.testing.assert_array_equal(parts, np.arange(some))  # the part i holds the items from i n / k on


@given(st.integers(1, 3000), st.integers(1, 400))
@example(199, 100)
def test_every_stretch_as_long_as_a_part_holds_one(n_items: int, count: int) -> None:
    longest = -(-n_items // min(n_items, count))
    around = np.diff(evenly_spaced(n_items, count), prepend=-1, append=n_items)
    assert around.max() <= longest


@given(st.integers(2, 3000), st.integers(2, 400))
def test_ends_takes_first_and_last_and_equal_steps_between_them(n_items: int, count: int) -> None:
    places = evenly_spaced(n_items, count, ends=True)
    assert (places[0], places[-1]) == (0, n_items - 1)
    assert np.ptp(np.diff(places)) <= 1


@pytest.mark.parametrize(
    ("n_items", "count", "ends", "expected"),
    [
        (5, 2, False, [0, 2]),
        (5, 2, True, [0, 4]),
        (7, 3, False, [0, 2, 4]),
        (7, 3, True, [0, 3, 6]),
        (3, 9, False, [0, 1, 2]),
        (3, 9, True, [0, 1, 2]),
        (4, 1, True, [0]),
        (0, 5, False, []),
        (0, 5, True, []),
    ],
)
def test_places_worked_by_hand(n_items: int, count: int, ends: bool, expected: list[int]) -> None:
    assert evenly_spaced(n_items, count, ends=ends).tolist() == expected


@given(LENGTHS, st.integers(1, 400))
@example(199, 100)
def test_thinned_rows_are_equally_spaced_over_the_whole_list_and_not_too_few(n_items: int, at_least: int) -> None:
    found = thinned(np.arange(n_items), at_least)
    around = np.diff(found, prepend=0, append=n_items)
    assert len(found) >= min(n_items, at_least)
    assert around.max(initial=0) <= max(1, n_items // at_least)
    assert np.ptp(np.diff(found)) == 0 if len(found) > 1 else len(found) == min(n_items, 1)
