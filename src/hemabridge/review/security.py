"""Protection of the readers' pages: security headers, origin checks, limits of forms, and throttling of guesses."""

import ipaddress
import re
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

MAX_BODY_BYTES: Final = 8_192
"""Largest form that is read, in bytes; valid ones have up to about a thousand."""

MAX_FIELDS: Final = 60

HEADERS: Final[dict[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not `no-referrer`, with which browsers send `Origin: null` for forms of these pages.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}
"""Headers of every response. Pages load from this server only, and inline scripts and styles are blocked."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Return whether an address, or `localhost`, is reached by this computer alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name; whom it reaches is not known


class SecurityHeaders:
    """ASGI middleware that adds headers to every response, and `no-store` if it has no caching header."""

    def __init__(self, app: App, headers: Mapping[str, str] = HEADERS) -> None:
        self.app, self.headers = app, headers

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle a request, and add the headers to its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                headers += [(name.encode(), value.encode()) for name, value in self.headers.items()]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, with_headers)


WRONG_TOKENS: Final = 20
"""Number of invalid tokens that one address may request within `WRONG_SECONDS`."""
WRONG_SECONDS: Final = 60.0
MOST_REMEMBERED: Final = 10_000
_TOKEN = re.compile(r"/r/([^/]+)")


class GuessThrottle:
    """ASGI middleware: an address that guessed tokens gets status 429 for every token that was not valid before.

    A reader with a valid token is not affected by others with the same address.
    """

    def __init__(self, app: App, *, most: int = WRONG_TOKENS, seconds: float = WRONG_SECONDS) -> None:
        self.app, self.most, self.seconds = app, most, seconds
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._right: set[str] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it; count invalid tokens."""
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
        if status < 400:  # never for an invalid token
            self._right.add(token)
        elif status == 404 and token not in self._right:
            self._wrong.setdefault(peer, deque(maxlen=self.most)).append(time.monotonic())
            self._wrong.move_to_end(peer)
            if len(self._wrong) > MOST_REMEMBERED:
                self._wrong.popitem(last=False)


def is_same_origin(request: Request) -> bool:
    """Return whether a form was sent from a page of this server: by Sec-Fetch-Site, or by Origin and Host.

    Behind a proxy, scheme and port may differ from those of this server. Therefore only the host and port that the
    browser states are compared. A request with neither header does not come from a current browser.
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
    """Read a form that a page of this server sent.

    Raises:
        HTTPException: 403 for another origin, 413 if too large, 400 if it is not such a form or is incomplete.
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
