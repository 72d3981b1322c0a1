"""What stands between the readers' pages and the rest of the world: headers, origins, sizes of forms, guesses."""

import re
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

MAX_BODY_BYTES: Final = 8_192
"""Largest form that is read; the largest honest one has about a thousand bytes."""

MAX_FIELDS: Final = 60

HEADERS: Final[dict[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not `no-referrer`: browsers then send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}
"""On every response. What is fetched by a page comes from this server alone, and nothing inline is run or styled."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class SecurityHeaders:
    """ASGI layer that puts `HEADERS` on every response, and `no-store` where the response says nothing of storing."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on; add headers to what comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, with_headers)


WRONG_TOKENS: Final = 20
"""So many tokens of nobody may one address ask for within `WRONG_SECONDS`."""
WRONG_SECONDS: Final = 60.0
MOST_REMEMBERED: Final = 10_000
_TOKEN = re.compile(r"/r/([^/]+)")


class GuessThrottle:
    """ASGI layer: an address that guessed tokens gets 429 for every token that has not been right before.

    A reader who is in already goes on, whoever else has the same address.
    """

    def __init__(self, app: App, *, most: int = WRONG_TOKENS, seconds: float = WRONG_SECONDS) -> None:
        self.app, self.most, self.seconds = app, most, seconds
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._right: set[str] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; count the tokens of nobody."""
        token = _TOKEN.match(scope["path"]) if scope["type"] == "http" else None
        if token is None:
            await self.app(scope, receive, send)
            return
        peer = str((scope.get("client") or ("",))[0])
        if token[1] not in self._right and self._has_guessed(peer):
            await send({"type": "http.response.start", "status": 429, "headers": self._retry_after()})
            await send({"type": "http.response.body", "body": b"Too many wrong links; wait a minute."})
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(peer, token[1], message["status"])
            await send(message)

        await self.app(scope, receive, counted)

    def _retry_after(self) -> list[tuple[bytes, bytes]]:
        return [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", str(int(self.seconds)).encode())]

    def _has_guessed(self, peer: str) -> bool:
        wrong, now = self._wrong.get(peer), time.monotonic()
        while wrong and wrong[0] < now - self.seconds:
            wrong.popleft()
        return wrong is not None and len(wrong) >= self.most

    def _count(self, peer: str, token: str, status: int) -> None:
        if status < 400:  # a token of nobody is never answered so
            self._right.add(token)
        elif status == 404 and token not in self._right:
            self._wrong.setdefault(peer, deque(maxlen=self.most)).append(time.monotonic())
            self._wrong.move_to_end(peer)
            if len(self._wrong) > MOST_REMEMBERED:
                self._wrong.popitem(last=False)


def is_same_origin(request: Request) -> bool:
    """Tell whether a form was sent from a page of this server: by Sec-Fetch-Site, or by Origin against Host.

    Scheme and port behind a proxy may differ from what this server sees, so only the host and port that the browser
    itself names are compared. A request with neither header comes from no browser of the last years.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None
    try:
        return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False


async def read_form(request: Request) -> dict[str, list[str]]:
    """Read a form that one of our own pages sent.

    Raises:
        HTTPException: 403 from another origin, 413 too large, 400 no such form, or its sender left before its end.
    """
    if not is_same_origin(request):
        raise HTTPException(403)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(400)
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413)
    except ClientDisconnect as error:
        raise HTTPException(400) from error
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise HTTPException(400) from error
