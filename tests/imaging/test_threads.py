import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from hemabridge.imaging.threads import LARGE_PIXELS, NO_WARNINGS, ONE_BLAS_THREAD, alone_if_large, in_order


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(10)
        if number == 1:
            first_may_end.set()
        return number * number

    assert list(in_order(work, range(50), 3)) == [number * number for number in range(50)]


def test_items_are_taken_few_ahead_of_the_reader() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = in_order(lambda number: number, items(), 2)
    for _ in range(10):
        next(results)
    assert taken <= 10 + 2 * 2 + 1


def test_an_error_is_raised_at_its_turn_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("the fourth")
        return number

    results = in_order(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
    assert len(begun) < 20


def test_threads_that_overlap_leave_the_filters_of_warnings_as_they_were() -> None:
    before = list(warnings.filters)
    first, second = ExitStack(), ExitStack()
    first.enter_context(NO_WARNINGS)
    second.enter_context(NO_WARNINGS)
    first.close()
    warnings.warn("not shown while the second is inside", UserWarning, stacklevel=1)
    second.close()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", UserWarning, stacklevel=1)


def test_threads_that_overlap_leave_matrices_the_cores_that_they_had() -> None:
    def used() -> set[int]:
        return {each["num_threads"] for each in ThreadpoolController().select(user_api="blas").info()}

    with threadpool_limits(2, user_api="blas"):
        first, second = ExitStack(), ExitStack()
        first.enter_context(ONE_BLAS_THREAD)
        second.enter_context(ONE_BLAS_THREAD)
        first.close()
        assert used() == {1}
        second.close()
        assert used() == {2}
        inside = in_order(lambda _: used(), range(6), 2)
        assert next(inside) == {1}
        inside.close()
        assert used() == {2}


@pytest.mark.parametrize(("width", "most"), [(LARGE_PIXELS, 3), (LARGE_PIXELS + 1, 1)])
def test_large_images_alone_are_worked_on_one_at_a_time(width: int, most: int) -> None:
    inside, largest = 0, 0
    all_inside = threading.Barrier(3)

    def work(number: int) -> None:
        nonlocal inside, largest
        with alone_if_large(1, width), alone_if_large(1, width):  # one thread may ask again
            inside += 1
            largest = max(largest, inside)
            if most == 3:
                all_inside.wait(10)
            else:
                time.sleep(0.05)  # long enough for the others to come in, if they may
            inside -= 1

    assert len(list(in_order(work, range(3), 3))) == 3
    assert largest == most


PAGES = """
import resource
import sys

import numpy as np

from hemabridge.imaging.threads import in_order


def work(_):
    [np.ones(400_000, np.uint8) for _ in range(20)]


def faults(run):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


work(0)
first = faults(lambda: [work(number) for number in range(20)])
list(in_order(work, range(3), 1))
print(first, faults(lambda: [work(number) for number in range(20)]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere memory is kept in another way")
def test_the_memory_of_one_image_is_kept_for_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", PAGES], check=True, capture_output=True, text=True)
    first, later = map(int, done.stdout.split())
    assert first > 5000  # each page of each array, each time
    assert later < 100
