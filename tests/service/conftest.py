"""A service whose work is done by a few lines, and a client that talks to it without a socket."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hemabridge.progress import Progress
from hemabridge.service.access import Access
from hemabridge.service.responses import Classified, ClassifiedImage, NoSettings, Operation, Served
from hemabridge.service.sent import Sent
from hemabridge.service.service_app import Limits, make_service_app

ADDRESS = "http://127.0.0.1:8322"


class Counting:
    """Work that says how many bytes each image has; an image `wait` waits, and `fail` fails."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.done = Event(), Event(), 0

    def __call__(self, sent: Sequence[Sent], settings: Any, progress: Progress) -> Classified:
        self.begun.set()
        for number, image in enumerate(sent, 1):
            if image.content == b"wait":
                while not self.go_on.wait(0.02):
                    progress("counting", number, len(sent))
            if image.content == b"fail":
                raise ValueError(f"patient Ana Ruiz in {image.name}")
            self.done += 1
        images = tuple(
            ClassifiedImage(name=image.name, predicted_class=str(len(image.content)), probabilities=(1.0,), reason="")
            for image in sent
        )
        return Classified(model="0" * 64, classes=("cell",), site=None, images=images)


@pytest.fixture
def work() -> Counting:
    return Counting()


@pytest.fixture
def make_client(work: Counting) -> Iterator[Callable[..., TestClient]]:
    """A function that starts a service with limits and rules."""
    with ExitStack() as open_clients:

        def make(limits: Limits | None = None, access: Access | None = None, base_url: str = ADDRESS) -> TestClient:
            operation = Operation("classify", "Count bytes", NoSettings, Classified, work)
            served = Served((operation,), "# Card\n", {"version": "1", "model": 'a"b'})
            app = make_service_app(served, limits or Limits(), access or Access())
            open_clients.callback(app.state.line.end)
            client = TestClient(app, base_url=base_url, raise_server_exceptions=False)
            return open_clients.enter_context(client)

        yield make
        work.go_on.set()


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()
