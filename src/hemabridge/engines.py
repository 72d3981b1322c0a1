"""Where the work on many files is done: in this process, or by Ray in the processes of many machines."""

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from hemabridge._version import __version__
from hemabridge.errors import HemabridgeError, InputError, MissingExtraError, RunError
from hemabridge.imaging.threads import in_order

EngineName: TypeAlias = Literal["local", "ray"]

RETRIES: Final = 5
"""How often a task is done again whose process ended, for example because its machine did."""

TASK_ITEMS: Final = 8
"""Number of images that a task of Ray takes, so that its own cost (about a millisecond) does not count."""

ANSWER_SECONDS: Final = 10.0
"""Seconds within which a cluster must answer."""

TASKS_AHEAD: Final = 4
"""Number of tasks for each processor that wait or run at a time."""

_INSTALL: Final = "install the same version on all of them"

Item = TypeVar("Item")
Result = TypeVar("Result")

_MADE: dict[str, Callable[[Any], Any]] = {}
"""What a process of Ray has made, by the job: a model is opened once in each process."""


class Engine(Protocol):
    """Does the same work on many items."""

    def in_order(
        self,
        work: Callable[[Item], Result],
        make: Callable[[], Callable[[Item], Result]],
        items: Sequence[Item],
        threads: int = 1,
        task_items: int = 1,
    ) -> Iterator[Result]:
        """Yield the result for each item, in their order.

        Args:
            work: does the work, in this process.
            make: makes `work` in another process; it can be pickled.
            items: can be pickled, as the results can.
            threads: number of threads, of an engine in this process.
            task_items: number of items of a task, of an engine in several processes.
        """
        ...


class LocalEngine:
    """This process."""

    def in_order(
        self,
        work: Callable[[Item], Result],
        make: Callable[[], Callable[[Item], Result]],
        items: Sequence[Item],
        threads: int = 1,
        task_items: int = 1,
    ) -> Iterator[Result]:
        """Yield `work` of each item, in their order."""
        return in_order(work, items, threads)


LOCAL: Final = LocalEngine()


class RayEngine:
    """The processes of a cluster of Ray that is already joined. `opened_engine` makes it.

    A task whose process or machine ends is done again elsewhere. All machines see the same folders, since each task
    reads and writes files.
    """

    def in_order(
        self,
        work: Callable[[Item], Result],
        make: Callable[[], Callable[[Item], Result]],
        items: Sequence[Item],
        threads: int = 1,
        task_items: int = 1,
    ) -> Iterator[Result]:
        """Yield the result for each item, in their order; a few tasks for each processor run or wait at a time.

        Raises:
            RunError: the process of a task ended `RETRIES` + 1 times.
        """
        import ray

        job = ray.put(make)
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_work_on)
        ahead = TASKS_AHEAD * max(1, int(_resources().get("CPU", 1)))
        waiting: deque[tuple[Any, Sequence[Item]]] = deque()
        left = iter(items)
        try:
            while chunk := list(islice(left, task_items)):
                waiting.append((task.remote([job], job.hex(), __version__, chunk), chunk))
                if len(waiting) >= ahead:
                    yield from _results(*waiting.popleft())
            while waiting:
                yield from _results(*waiting.popleft())
        finally:
            for reference, _ in waiting:
                ray.cancel(reference, force=True)


@contextmanager
def opened_engine(name: EngineName, address: str | None = None) -> Iterator[Engine]:
    """Yield an engine; Ray is joined, or started on this computer, and left at the end.

    Ray sends nothing about its use, and opens no dashboard.

    Args:
        name: `local` or `ray`.
        address: of a cluster of Ray; None: all processors of this computer.

    Raises:
        InputError: an address is given without Ray.
        MissingExtraError: Ray is not installed.
        RunError: there is no cluster at that address.
    """
    if name == "local":
        if address is not None:
            raise InputError(f"expected no address without Ray, got {address}; use --engine ray")
        yield LOCAL
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("the engine ray needs Ray: pip install 'hemabridge[scale]'") from error
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"expected a cluster of Ray at {address or 'this computer'}, got none: {error}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray has put its own there, which ends the program at once
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Check that something answers at HOST:PORT, where Ray would wait for many minutes.

    Raises:
        OSError: nothing answers.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def _resources() -> dict[str, float]:
    import ray

    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def _work_on(job: list[Any], key: str, version: str, items: Sequence[Any]) -> list[Any]:
    """Do the items of one task, in a process of Ray."""
    if version != __version__:
        raise RunError(f"expected hemabridge {version} on each machine, got {__version__}; {_INSTALL}")
    if key not in _MADE:
        import ray

        _MADE.clear()
        _MADE[key] = ray.get(job[0])()
    return [_MADE[key](item) for item in items]


def _results(reference: Any, items: Sequence[Any]) -> Iterator[Any]:
    import ray

    try:
        yield from ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HemabridgeError):
            raise error.cause from error
        if isinstance(error.cause, ray.exceptions.RaySystemError):
            raise RunError(f"expected to open the job in another process, got {error.cause}; {_INSTALL}") from error
        raise
    except ray.exceptions.RayError as error:
        raise RunError(
            f"expected the results of {len(items)} files from {items[0]} on, but their process ended {RETRIES + 1} "
            f"times ({type(error).__name__}); what is finished stays: repair the cluster, or leave the file out"
        ) from error
