"""`hemabridge review serve`: serves the readers' pages by HTTP."""

import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

import uvicorn
from fastapi import FastAPI

from hemabridge.errors import InputError, RunError
from hemabridge.review.connections import BoundedConnection
from hemabridge.review.reading_app import make_app
from hemabridge.review.security import is_loopback
from hemabridge.review.store import STORE, Store
from hemabridge.storage.run_folder import hold_folder

PICTURES: Final = "pictures"
LINKS: Final = "links.txt"

LONGEST_HEADERS: Final = 16_384
"""Largest size of a request's line and headers in bytes."""

MOST_CONNECTIONS: Final = 1_000


def review_serve(folder: Path, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the pages of a review until SIGINT or SIGTERM.

    The key is not read, and may be elsewhere. Only the store is written; requests are not logged.

    Args:
        folder: the folder of a review (`review create`).
        host: name or address to listen on.
        port: port to listen on; 0: any free one.
        ready: called with the server's address once it listens.

    Raises:
        RunError: it is not the folder of a review, or another process serves it.
        InputError: the address cannot be used.
    """
    if not (folder / PICTURES).is_dir() or not (folder / STORE).is_file():
        raise RunError(f"expected a folder of `hemabridge review create` with {STORE} and {PICTURES}, got {folder}")
    with hold_folder(folder), Store.open(folder / STORE) as store:
        serve_app(make_app(store, folder / PICTURES), host, port, ready)


def serve_app(
    app: FastAPI,
    host: str,
    port: int,
    ready: Callable[[str], None],
    finished: Event | None = None,
    connection: type[BoundedConnection] = BoundedConnection,
) -> None:
    """Serve an application with limits on connections until SIGINT, SIGTERM, or until `finished` is set.

    Args:
        app: of `hemabridge.review.reading_app`.
        host: name or address to listen on.
        port: 0 takes a free one.
        ready: called with the server's address once it listens.
        finished: ends the server after the responses that are under way.
        connection: the limits of a connection.

    Raises:
        InputError: that address cannot be listened on.
    """
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LONGEST_HEADERS,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}")
        _Server(config, finished or Event()).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends on SIGINT and SIGTERM; uvicorn's own server would raise the signal again after that."""

    def __init__(self, config: uvicorn.Config, finished: Event) -> None:
        super().__init__(config)
        self.finished = finished

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server must stop; called every 0.1 s."""
        return await super().on_tick(counter) or self.finished.is_set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Treat both signals as a request to stop while the block runs."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def risk_of(host: str) -> str:
    """Return the risk of serving on an address; empty for addresses that only this computer reaches."""
    if is_loopback(host):
        return ""
    return (
        f"{host} can be reached from other computers. Pages and links are not encrypted: anyone who intercepts them on "
        "the network can see the pictures and answer as a reader. Use it in a network that you trust, or behind a "
        "proxy with TLS; links must begin with the address that readers reach (`address` in the plan)."
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"expected an address to listen on, got {host} port {port}: {error}; choose another"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise InputError(
            f"expected an address to listen on, got {host} port {port}: {error}; choose another"
        ) from error
    return listener
