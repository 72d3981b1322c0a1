"""Limits of connections to the readers' server: number per address, and time for a complete request."""

import asyncio
from collections import Counter
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hemabridge.review.security import HEADERS

REQUEST_SECONDS: Final = 10.0
"""Time within which a request must be complete, from the connection or from its first byte."""

MOST_OF_ONE_PEER: Final = 200
"""Most connections of one address; a browser opens six. Behind a proxy all readers have one address."""


class BoundedConnection(H11Protocol):
    """An HTTP/1.1 connection that is closed if its request is not complete in time, or its peer has too many."""

    request_seconds = REQUEST_SECONDS
    most_of_one_peer = MOST_OF_ONE_PEER
    _open_of: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._deadline: asyncio.TimerHandle | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for a request, or close the connection if its peer has too many."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self._open_of[self._peer] += 1
        if self._open_of[self._peer] > self.most_of_one_peer:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the count of its peer."""
        self._cancel()
        self._open_of[self._peer] -= 1
        if self._open_of[self._peer] <= 0:
            del self._open_of[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; the first part starts its timer."""
        self._wait()
        super().data_received(data)
        if self.conn.their_state in {h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR}:
            self._cancel()

    def send_400_response(self, msg: str) -> None:
        """Respond to data that is not HTTP, with the headers of all responses, and close."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        headers.append((b"connection", b"close"))
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.request_seconds, self._end)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()
