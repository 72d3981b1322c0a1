"""The order of the screens for one reader: random, with a minimum distance between screens of the same cell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

from hemabridge.errors import InputError

ATTEMPTS = 50
"""Number of random orders that are tried before the distance is lowered by one."""


def spaced_order(
    blocks: Sequence[Sequence[str]],
    cell_of: Mapping[str, str],
    first_of: Mapping[str, str],
    apart: int,
    rng: Random,
) -> tuple[list[str], int]:
    """Return a random order of all screens, block after block, and the distance that it keeps.

    Args:
        blocks: ids of screens; each block is completed before the next one begins.
        cell_of: the cell of each screen.
        first_of: the first showing for each repeat; the repeat comes later.
        apart: wanted distance between two screens of one cell, in screens; it is lowered if there is no such order.
        rng: source of random numbers.

    Returns:
        The order, and the distance.

    Raises:
        InputError: `apart` is below 1.
    """
    if apart < 1:
        raise InputError(f"expected a distance of at least 1 screen, got {apart}")
    for distance in range(apart, 1, -1):
        if not _is_possible(blocks, cell_of, distance):
            continue
        for _ in range(ATTEMPTS):
            order = _drawn(blocks, cell_of, distance, rng)
            if order is not None:
                return _repeats_last(order, first_of), distance
    order = [screen for block in blocks for screen in rng.sample(list(block), len(block))]
    return _repeats_last(order, first_of), 1


def _is_possible(blocks: Sequence[Sequence[str]], cell_of: Mapping[str, str], distance: int) -> bool:
    """Return whether each block is long enough for its most frequent cell; this is necessary, but not sufficient."""
    most = [max(Counter(cell_of[screen] for screen in block).values(), default=0) for block in blocks]
    return all((count - 1) * distance < len(block) for count, block in zip(most, blocks, strict=True))


def _drawn(blocks: Sequence[Sequence[str]], cell_of: Mapping[str, str], distance: int, rng: Random) -> list[str] | None:
    """Draw screen by screen among those far enough from the last screen of their cell; None if none is left."""
    order: list[str] = []
    last: dict[str, int] = {}
    for block in blocks:
        left = list(block)
        while left:
            place = len(order)
            free = [s for s in left if cell_of[s] not in last or place - last[cell_of[s]] >= distance]
            if not free:
                return None
            # A cell whose screens would otherwise not fit into the rest of the block has priority.
            counts = Counter(cell_of[screen] for screen in left)
            urgent = [s for s in free if (counts[cell_of[s]] - 1) * distance + 1 >= len(left)]
            chosen = rng.choice(urgent or free)
            left.remove(chosen)
            order.append(chosen)
            last[cell_of[chosen]] = place
    return order


def _repeats_last(order: list[str], first_of: Mapping[str, str]) -> list[str]:
    """Swap each repeat that precedes its first showing with it; both show the same cell, so distances do not change."""
    place = {screen: number for number, screen in enumerate(order)}
    for again, first in first_of.items():
        if place[again] < place[first]:
            order[place[again]], order[place[first]] = first, again
            place[again], place[first] = place[first], place[again]
    return order
