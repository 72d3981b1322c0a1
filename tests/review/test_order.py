from collections import Counter
from math import inf
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hemabridge.errors import InputError
from hemabridge.review.order import spaced_order


def closest(order: list[str], cell_of: dict[str, str]) -> float:
    """Return the smallest distance between two screens of one cell; infinity if no cell comes twice."""
    last: dict[str, int] = {}
    found = inf
    for place, screen in enumerate(order):
        cell = cell_of[screen]
        if cell in last:
            found = min(found, place - last[cell])
        last[cell] = place
    return found


@given(
    sizes=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=12), min_size=1, max_size=3),
    apart=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
@example(sizes=[[1]], apart=2, seed=0)
@settings(max_examples=60)
def test_every_screen_comes_once_block_by_block_repeats_last_at_the_distance_told(
    sizes: list[list[int]], apart: int, seed: int
) -> None:
    blocks = [
        [f"{number}-{cell}-{turn}" for cell, count in enumerate(counts) for turn in range(count)]
        for number, counts in enumerate(sizes)
    ]
    cell_of = {screen: screen.split("-")[1] for block in blocks for screen in block}
    first_of = {s: f"{s.rpartition('-')[0]}-0" for s in cell_of if s.endswith("-1")}
    order, distance = spaced_order(blocks, cell_of, first_of, apart, Random(seed))
    assert Counter(order) == Counter(screen for block in blocks for screen in block)
    begin = 0
    for block in blocks:
        assert set(order[begin : begin + len(block)]) == set(block)
        begin += len(block)
    assert all(order.index(first) < order.index(again) for again, first in first_of.items())
    assert 1 <= distance <= apart
    assert closest(order, cell_of) >= distance


def many(cells: int, showings: int) -> tuple[list[str], dict[str, str]]:
    block = [f"{cell}-{turn}" for cell in range(cells) for turn in range(showings)]
    return block, {screen: screen.split("-")[0] for screen in block}


def test_a_distance_that_is_possible_is_kept_in_full() -> None:
    block, cell_of = many(20, 3)
    distances = [spaced_order([block], cell_of, {}, 10, Random(seed))[1] for seed in range(20)]
    assert distances == [10] * 20


def test_a_distance_that_is_impossible_is_lowered_to_one_that_is() -> None:
    block, cell_of = many(4, 3)  # the cells must take turns: no more than 4 apart
    order, distance = spaced_order([block], cell_of, {}, 10, Random(1))
    assert distance >= 3
    assert closest(order, cell_of) >= distance
    assert spaced_order([["a", "b"]], {"a": "x", "b": "x"}, {}, 10, Random(1))[1] == 1


def test_orders_follow_from_the_generator_and_differ_between_generators() -> None:
    block, cell_of = many(10, 2)
    first = spaced_order([block], cell_of, {}, 5, Random("a"))
    assert spaced_order([block], cell_of, {}, 5, Random("a")) == first
    assert spaced_order([block], cell_of, {}, 5, Random("b")) != first


def test_every_place_can_be_the_first() -> None:
    block, cell_of = many(6, 1)
    firsts = Counter(spaced_order([block], cell_of, {}, 3, Random(seed))[0][0] for seed in range(600))
    assert set(firsts) == set(block)
    assert max(firsts.values()) < 150  # of 100 expected each, with a standard deviation of 9


def test_a_distance_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 screen"):
        spaced_order([["a"]], {"a": "x"}, {}, 0, Random(0))
