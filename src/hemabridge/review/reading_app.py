"""The readers' pages as a web application. It uses the store and the pictures, and never the key of the review.

Every reader has a secret link, `/r/TOKEN/`; all pages of the reader are below it.
"""

import errno
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from hemabridge.review.pages import StaticFile
from hemabridge.review.requests import Fields, ReviewPages
from hemabridge.review.security import GuessThrottle, SecurityHeaders, read_form
from hemabridge.review.store import Store

MESSAGES: Final = {404: "unknown", 405: "unknown", 500: "fault", 507: "full"}
"""Key of the message for an HTTP status; `refused` for all others."""

STATIC_KEPT: Final = "public, max-age=31536000, immutable"

LOG: Final = logging.getLogger(__name__)


def make_app(store: Store, pictures: Path) -> FastAPI:
    """Return the application for an open store and its folder of pictures."""
    return app_of(ReviewPages(store, pictures))


def app_of(pages: ReviewPages) -> FastAPI:
    """Return the application for the requests of readers."""
    app = bare_app(pages.pages.static, pages.message)
    _add_pages(app, pages)
    _add_forms(app, pages)
    return app


def bare_app(static: Mapping[str, StaticFile], message: Callable[[str, str], str]) -> FastAPI:
    """Return an application without pages, with static files, messages and all protection.

    Args:
        static: what the pages load.
        message: returns the page for a token and the key of a message.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _add_static(app, static)
    _add_messages(app, message)
    app.add_middleware(GuessThrottle)
    app.add_middleware(SecurityHeaders)  # outermost, so that it applies to every response
    return app


def _add_pages(app: FastAPI, pages: ReviewPages) -> None:
    def add(path: str, work: Callable[[str], Response]) -> None:
        async def show(token: str) -> Response:
            return await run_in_threadpool(work, token)

        app.add_api_route(f"/r/{{token}}{path}", show, methods=["GET"], response_model=None)

    add("", pages.enter)
    add("/", pages.welcome)
    add("/read", pages.read)
    add("/part", pages.part)
    add("/pause", partial(pages.pause, proposed=False))
    add("/rest", partial(pages.pause, proposed=True))
    add("/done", pages.done)

    async def picture(token: str, name: str) -> Response:
        return await run_in_threadpool(pages.picture, token, name)

    app.add_api_route("/r/{token}/p/{name}.png", picture, methods=["GET"], response_model=None)


def _add_forms(app: FastAPI, pages: ReviewPages) -> None:
    def add(path: str, work: Callable[[str, Fields], Response]) -> None:
        async def take(token: str, request: Request) -> Response:
            fields = await read_form(request)
            return await run_in_threadpool(work, token, fields)

        app.add_api_route(f"/r/{{token}}/{path}", take, methods=["POST"], response_model=None)

    add("read", pages.answer)
    add("undo", pages.undo)
    add("left", pages.leave)
    add("language", pages.speak)


def _add_static(app: FastAPI, static: Mapping[str, StaticFile]) -> None:
    for file in static.values():
        response = partial(Response, file.content, media_type=file.media_type, headers={"cache-control": STATIC_KEPT})
        app.add_api_route(file.path, _answering(response), methods=["GET"], response_model=None)
    app.add_api_route(
        "/favicon.ico", _answering(partial(Response, status_code=204)), methods=["GET"], response_model=None
    )


def _answering(make: Callable[[], Response]) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return make()

    return answer


def _add_messages(app: FastAPI, message: Callable[[str, str], str]) -> None:
    """Respond to every error with a page that states no cause, so that it reveals nothing to strangers."""

    def say(request: Request, status: int) -> Response:
        token = str(request.path_params.get("token", ""))
        return HTMLResponse(message(token, MESSAGES.get(status, "refused")), status_code=status)

    async def refused(request: Request, error: Exception) -> Response:
        # The router raises Starlette's class, which is the base of FastAPI's.
        return await run_in_threadpool(say, request, int(getattr(error, "status_code", 404)))

    async def failed(request: Request, error: Exception) -> Response:
        return await run_in_threadpool(say, request, 500)  # the server logs the error, since it is raised again

    async def not_stored(request: Request, error: Exception) -> Response:
        if not _is_full(error):
            LOG.error("a page failed", exc_info=error)
            return await failed(request, error)
        LOG.error("an answer could not be stored: the disk is full")
        return await run_in_threadpool(say, request, 507)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(sqlite3.OperationalError, not_stored)
    app.add_exception_handler(OSError, not_stored)
    for status in (404, 405):  # raised by the router itself
        app.add_exception_handler(status, refused)
    app.add_exception_handler(Exception, failed)


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
