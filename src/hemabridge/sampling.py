"""The two rules for a sample that represents a whole list: of images, and of pixels or blobs in the millions."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=np.generic)


def evenly_spaced(n_items: int, count: int, *, ends: bool = False) -> NDArray[np.intp]:
    """Return the indices of at most `count` of `n_items` items, spread evenly over the whole list.

    Nothing is random. All distances between neighbors differ by at most one item.

    Args:
        n_items: Length of the list, at least 0.
        count: Number of items to take, at least 0; if there are not more, all items are taken.
        ends: False cuts the list into `count` equal parts and takes the first item of each. True takes the first item,
            the last one, and items evenly between them.

    Returns:
        intp[min(n_items, count)], strictly increasing, 0..n_items - 1.

    Example:
        >>> evenly_spaced(199, 4).tolist()
        [0, 49, 99, 149]
        >>> evenly_spaced(199, 4, ends=True).tolist()
        [0, 66, 132, 198]
    """
    some = min(n_items, count)
    if ends:
        return np.linspace(0, n_items - 1, some).round().astype(np.intp)
    return np.arange(some) * n_items // max(some, 1)


def thinned(rows: NDArray[Item], at_least: int) -> NDArray[Item]:
    """Return every k-th row, with the largest k that leaves `at_least`, or all rows if there are fewer; a view.

    It is for pixels and descriptors in the millions, where indices would take more memory than the sample.

    Args:
        rows: [N, ...].
        at_least: at least 1.

    Example:
        >>> import numpy as np
        >>> thinned(np.arange(11), 3).tolist()
        [0, 3, 6, 9]
    """
    return rows[:: max(1, len(rows) // at_least)]
