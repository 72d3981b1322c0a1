"""The application in which an expert checks a differential count: its requests and their responses."""

import secrets
from typing import Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hemabridge.evaluation.languages import LANGUAGES
from hemabridge.review.check_pages import Checking, CheckPages
from hemabridge.review.reading_app import bare_app
from hemabridge.review.security import read_form

_KEPT: Final = {"cache-control": "private, max-age=3600"}


class _Requests:
    """The requests of the expert, one method for each kind."""

    def __init__(self, checking: Checking, pages: CheckPages) -> None:
        self.checking, self.pages = checking, pages
        self.base = f"/r/{checking.token}/"

    async def gallery(self, token: str) -> Response:
        self._known(token)
        return HTMLResponse(await run_in_threadpool(self.pages.gallery))

    async def cell(self, token: str, number: int) -> Response:
        self._known(token, number)
        return HTMLResponse(await run_in_threadpool(self.pages.cell, number))

    async def picture(self, token: str, name: str) -> Response:
        self._known(token)
        content = await run_in_threadpool(self.pages.picture, name)
        return Response(content, media_type="image/png", headers=_KEPT)

    async def correct(self, token: str, number: int, request: Request) -> Response:
        self._known(token, number)
        given = (await read_form(request)).get("class", [])
        if len(given) != 1 or given[0] not in {"", *(choice.value for choice in self.pages.choices())}:
            raise HTTPException(400)
        await run_in_threadpool(self.checking.correct, number, given[0] or None)
        following = await run_in_threadpool(self.pages.after, number) if given[0] else number
        return RedirectResponse(self.base if following is None else f"{self.base}c/{following}", status_code=303)

    async def speak(self, token: str, request: Request) -> Response:
        self._known(token)
        language = (await read_form(request)).get("language", [""])[0]
        if language not in LANGUAGES:
            raise HTTPException(400)
        self.checking.language = language
        return RedirectResponse(self.base, status_code=303)

    async def finish(self, token: str, request: Request) -> Response:
        self._known(token)
        await read_form(request)
        self.checking.finished.set()
        return HTMLResponse(self.pages.finish())

    def _known(self, token: str, number: int = 0) -> None:
        if not secrets.compare_digest(token.encode(), self.checking.token.encode()):
            raise HTTPException(404)
        if not 0 <= number < len(self.checking.results.cells):
            raise HTTPException(404)


def make_check_app(checking: Checking) -> FastAPI:
    """Return the application; it sets `checking.finished` at the end."""
    pages = CheckPages(checking)
    app, requests = bare_app(pages.static, pages.message), _Requests(checking, pages)
    for path, work, methods in (
        ("/r/{token}/", requests.gallery, ["GET"]),
        ("/r/{token}/c/{number}", requests.cell, ["GET"]),
        ("/r/{token}/p/{name}.png", requests.picture, ["GET"]),
        ("/r/{token}/c/{number}", requests.correct, ["POST"]),
        ("/r/{token}/language", requests.speak, ["POST"]),
        ("/r/{token}/finish", requests.finish, ["POST"]),
    ):
        app.add_api_route(path, work, methods=methods, response_model=None)
    return app
