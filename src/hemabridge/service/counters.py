"""The numbers of the service as text for Prometheus; no name of an image, and no address of a client."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from hemabridge.review.security import App, Message, Receive, Send

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the classes of durations, in seconds."""


class Counters:
    """Counts requests, images and verdicts, and measures durations."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self.facts = dict(facts)
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._images: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, list[float]] = {}
        self._buckets: Counter[tuple[str, float]] = Counter()

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._requests[path, status] += 1
            total = self._seconds.setdefault(path, [0.0, 0.0])
            total[0] += 1
            total[1] += seconds
            for end in BUCKETS:
                self._buckets[path, end] += int(seconds <= end)

    def images(self, path: str, outcomes: Iterable[str]) -> None:
        """Count the outcomes of images."""
        with self._lock:
            self._images.update((path, outcome) for outcome in outcomes)

    def text(self, held: int, most: int) -> str:
        """Return all numbers; `held` of at most `most` requests are in the service now."""
        with self._lock:
            return "\n".join(self._lines(held, most)) + "\n"

    def _lines(self, held: int, most: int) -> Iterator[str]:
        yield from _head("hemabridge_info", "gauge", "version and model")
        yield f"hemabridge_info{_labels(self.facts)} 1"
        yield from _head("hemabridge_requests_held", "gauge", "requests that are read, wait or are worked on")
        yield f"hemabridge_requests_held {held}"
        yield from _head("hemabridge_requests_held_max", "gauge", "from so many on, requests get status 429")
        yield f"hemabridge_requests_held_max {most}"
        yield from _head("hemabridge_requests_total", "counter", "answered requests")
        for (path, status), count in sorted(self._requests.items()):
            yield f"hemabridge_requests_total{_labels({'path': path, 'status': str(status)})} {count}"
        yield from _head("hemabridge_images_total", "counter", "images by what became of them")
        for (path, outcome), count in sorted(self._images.items()):
            yield f"hemabridge_images_total{_labels({'path': path, 'outcome': outcome})} {count}"
        yield from _head("hemabridge_request_seconds", "histogram", "time to answer a request")
        for path, (answered, total) in sorted(self._seconds.items()):
            for end in BUCKETS:
                labels = _labels({"path": path, "le": str(end)})
                yield f"hemabridge_request_seconds_bucket{labels} {self._buckets[path, end]}"
            yield f"hemabridge_request_seconds_bucket{_labels({'path': path, 'le': '+Inf'})} {answered:.0f}"
            yield f"hemabridge_request_seconds_sum{_labels({'path': path})} {total:.6f}"
            yield f"hemabridge_request_seconds_count{_labels({'path': path})} {answered:.0f}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def _labels(values: Mapping[str, str]) -> str:
    def plain(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{plain(text)}"' for name, text in values.items()) + "}"


class CountedRequests:
    """ASGI middleware: counts requests by path and status, and measures their time; unknown paths count as `other`."""

    def __init__(self, app: App, counters: Counters, paths: frozenset[str]) -> None:
        self.app, self.counters, self.paths = app, counters, paths

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, path = time.perf_counter(), scope["path"] if scope["path"] in self.paths else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counters.request(path, message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, counted)
