"""Who may use the service: a token where others reach it, and no pages of other servers."""

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from hemabridge.review.security import is_loopback

FEWEST_SIGNS: Final = 24
"""Length of the shortest token."""


class Refused(Exception):  # noqa: N818
    """A request that may not be answered, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Access:
    """The rules for a request.

    Attributes:
        token: that the header `Authorization: Bearer TOKEN` must hold; empty: none is needed.
        only_loopback: whether the service is named by a loopback address or `localhost` alone, so that a page whose
            name resolves to this computer cannot read its answers (DNS rebinding).
    """

    token: str = ""
    only_loopback: bool = True

    def check(self, request: Request, *, needs_token: bool) -> None:
        """Check a request.

        Raises:
            Refused: 403 if it comes from a page of another server, 401 if its token is not right.
        """
        host = request.headers.get("host", "")
        if self.only_loopback and not is_loopback(_name_of(host)):
            raise Refused(403, "expected a loopback address or localhost as the name of this service, got another")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "expected a request of this service's own page, got one of another server")
        origin = request.headers.get("origin")
        if origin is not None and _netloc_of(origin) != host:
            raise Refused(403, "expected a request of this service's own page, got one of another server")
        if needs_token and self.token and not self._is_right(request.headers.get("authorization", "")):
            raise Refused(401, "expected the header Authorization: Bearer TOKEN with the token of this service")

    def _is_right(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token.encode())


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
