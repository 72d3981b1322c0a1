"""The service as a web application: paths, limits, errors, and their description (OpenAPI)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Query, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from hemabridge._version import __version__
from hemabridge.errors import InputError
from hemabridge.progress import Progress
from hemabridge.review.reading_app import STATIC_KEPT
from hemabridge.review.security import HEADERS, SecurityHeaders
from hemabridge.service.access import Access, Refused
from hemabridge.service.counters import CONTENT_TYPE, CountedRequests, Counters
from hemabridge.service.drop_page import PageFile, page_files
from hemabridge.service.responses import Operation, Refusal, Served, State
from hemabridge.service.sent import FIELD, images_of, read_body
from hemabridge.service.waiting import Full, Gone, Line, TooLate, WorkFailed

LOG: Final = logging.getLogger(__name__)

OWN_HEADERS: Final = HEADERS | {
    "content-security-policy": HEADERS["content-security-policy"].replace("img-src 'self'", "img-src 'self' blob:")
}
"""Headers of every response; the page shows pictures that it holds itself."""

GONE: Final = 499
"""Status of a request whose client has gone, as nginx counts it; nobody gets it."""

REFUSALS: Final = {
    400: "the body is no form with images, or has too many",
    401: "the token is missing or wrong",
    403: "the request comes from a page of another server",
    413: "too many bytes, or too many cells in the fields",
    422: "a parameter is not valid",
    429: "too many requests wait; see the header Retry-After",
    500: "an unexpected error",
    503: "the answer took too long",
}


@dataclass(frozen=True)
class Limits:
    """The limits of the service.

    Attributes:
        body_bytes: largest body of a request.
        images: largest number of images in a request.
        requests: largest number of requests that are read, wait or are worked on; the next one gets status 429.
        seconds: longest time from the end of a request to its answer.
    """

    body_bytes: int = 64 * 2**20
    images: int = 500
    requests: int = 8
    seconds: float = 120.0


def make_service_app(served: Served, limits: Limits, access: Access) -> FastAPI:
    """Return the application."""
    service = _Service(served, limits, access)
    app = FastAPI(
        title="hemabridge", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    for operation in served.operations:
        _add_operation(app, service, operation)
    _add_states(app, service)
    _add_page(app, service)
    _add_errors(app)
    app.add_middleware(CountedRequests, counters=service.counters, paths=_paths(app))
    app.add_middleware(SecurityHeaders, headers=OWN_HEADERS)  # outermost, so that it applies to every response
    app.state.line = service.line
    return app


@dataclass
class _Service:
    served: Served
    limits: Limits
    access: Access

    def __post_init__(self) -> None:
        self.line = Line(self.limits.requests, self.limits.seconds)
        self.counters = Counters(self.served.facts)

    @property
    def secured(self) -> list[Depends]:
        """What describes the token, where one is needed; `Access` checks it."""
        about = "the token with which the service was started"
        return [Security(HTTPBearer(auto_error=False, description=about))] if self.access.token else []

    async def answer(self, operation: Operation, request: Request, settings: BaseModel) -> Response:
        """Answer a request for work."""
        self.access.check(request, needs_token=True)
        try:
            place = self.line.enter()
        except Full:
            await read_body(request, self.limits.body_bytes, keep=False)  # or the client may not see the answer
            raise
        try:
            body = await read_body(request, self.limits.body_bytes, keep=True)
            content_type = request.headers.get("content-type", "")
            return await place.work(
                lambda progress: self._work(operation, body, content_type, settings, progress), request.is_disconnected
            )
        finally:
            place.leave()

    def _work(
        self, operation: Operation, body: bytes, content_type: str, settings: BaseModel, progress: Progress
    ) -> Response:
        try:
            sent = images_of(body, content_type, self.limits.images)
        except InputError as error:
            return _refusal(400, str(error))
        answer = operation.work(sent, settings, progress)
        self.counters.images(f"/v1/{operation.name}", answer.outcomes())
        return Response(answer.model_dump_json(), media_type="application/json")

    def state(self) -> State:
        """Return whether a request would be taken now."""
        return State(status="busy" if self.line.held >= self.line.most else "ready")


def _add_operation(app: FastAPI, service: _Service, operation: Operation) -> None:
    settings_type = operation.settings

    async def answer(request: Request, settings: Annotated[settings_type, Query()]) -> Response:  # type: ignore[valid-type]
        return await service.answer(operation, request, settings)

    app.add_api_route(
        f"/v1/{operation.name}",
        answer,
        methods=["POST"],
        summary=operation.summary,
        operation_id=operation.name,
        response_class=JSONResponse,
        responses={200: {"model": operation.answer, "description": "the results"}, **_refusals()},
        openapi_extra={"requestBody": _body(service.limits.images)},
        dependencies=service.secured,
    )


_BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE_KINDS: Final = ("png", "jpeg", "tiff", "bmp", "webp", "jp2", "gif")


def _body(most: int) -> dict[str, Any]:
    """Return the description of a request with up to `most` images."""
    images = {
        "type": "object",
        "properties": {FIELD: {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": most}},
        "required": [FIELD],
        "additionalProperties": False,
    }
    one = {"schema": _BINARY | {"minLength": 1}}
    content = {"multipart/form-data": {"schema": images}, **{f"image/{kind}": one for kind in _IMAGE_KINDS}}
    return {"required": True, "content": content}


_REFUSAL: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
"""The content of a refusal, whatever the media type of the answer."""


def _refusals() -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()}


def _add_states(app: FastAPI, service: _Service) -> None:
    def add(path: str, work: Callable[[], Response], summary: str, *, open_to_all: bool = False, **more: Any) -> None:
        async def answer(request: Request) -> Response:
            service.access.check(request, needs_token=not open_to_all)
            return await run_in_threadpool(work)

        refusals: dict[int | str, dict[str, Any]] = {
            status: {"content": _REFUSAL, "description": REFUSALS[status]}
            for status in ((403,) if open_to_all else (401, 403))
        }
        responses = {**refusals, **more.pop("responses", {})}
        secured = [] if open_to_all else service.secured
        app.add_api_route(
            path, answer, methods=["GET"], summary=summary, responses=responses, dependencies=secured, **more
        )

    def ready() -> Response:
        state = service.state()
        return JSONResponse(state.model_dump(), 200 if state.status == "ready" else 503)

    def metrics() -> Response:
        return Response(service.counters.text(service.line.held, service.line.most), media_type=CONTENT_TYPE)

    def card() -> Response:
        return Response(service.served.card, media_type="text/markdown")

    both = {200: {"model": State}, 503: {"model": State, "description": "a request would get status 429"}}
    state: dict[str, Any] = {"response_class": JSONResponse}
    add("/health", lambda: JSONResponse({"status": "ok"}), "Whether the process answers", open_to_all=True, **state)
    add("/ready", ready, "Whether a request would be taken now", responses=both, open_to_all=True, **state)
    add("/metrics", metrics, "Numbers for Prometheus", response_class=_Text)
    add("/card", card, "The model card", response_class=_Markdown)
    described = app.openapi
    add("/openapi.json", lambda: JSONResponse(described()), "This description", include_in_schema=False)


def _add_page(app: FastAPI, service: _Service) -> None:
    """Add the page and its files; they hold nothing that needs a token."""

    def add(file: PageFile) -> None:
        headers = {"cache-control": STATIC_KEPT} if file.path != "/" else {}

        async def answer(request: Request) -> Response:
            service.access.check(request, needs_token=False)
            return Response(file.content, media_type=file.media_type, headers=headers)

        app.add_api_route(file.path, answer, methods=["GET"], include_in_schema=False)

    operations = [operation.name for operation in service.served.operations]
    for file in page_files(operations, needs_token=bool(service.access.token)):
        add(file)


class _Text(Response):
    media_type = "text/plain"


class _Markdown(Response):
    media_type = "text/markdown"


def _refusal(status: int, error: str, retry_seconds: int | None = None) -> Response:
    headers = {} if retry_seconds is None else {"retry-after": str(retry_seconds)}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": error}, status, headers)


def _answer_to(request: Request, error: Exception) -> Response:
    """Return status and text for an expected error, without the content of the request."""
    if isinstance(error, Refused):
        return _refusal(error.status, str(error))
    if isinstance(error, Full):
        text = f"too many requests are waiting; send it again in {error.retry_seconds} s"
        return _refusal(429, text, error.retry_seconds)
    if isinstance(error, TooLate):
        return _refusal(503, "expected to be done in time, and was not; send fewer images in each request", 5)
    if isinstance(error, WorkFailed):
        LOG.error("a request to %s failed: %s", request.scope["route"].path, error)  # holds no name of a file
        return _refusal(500, "an unexpected error; the log of the service says where")
    return Response(status_code=GONE)


def _add_errors(app: FastAPI) -> None:
    async def expected(request: Request, error: Exception) -> Response:
        return _answer_to(request, error)

    async def http(request: Request, error: Exception) -> Response:
        status = int(getattr(error, "status_code", 404))
        if isinstance(error, HTTPException):
            return _refusal(status, str(error.detail))
        refusal = _refusal(status, "expected a path and a method of /openapi.json, got another")  # of the router itself
        refusal.headers.update(getattr(error, "headers", None) or {})  # of 405: Allow (RFC 9110, 15.5.6)
        return refusal

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return _refusal(422, f"expected a valid parameter {first['loc'][-1]}: {first['msg']}")

    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (Refused, Full, TooLate, Gone, WorkFailed):
        app.add_exception_handler(kind, expected)
    for status in (400, 404, 405, 413):
        app.add_exception_handler(status, http)


def _paths(app: FastAPI) -> frozenset[str]:
    return frozenset(str(getattr(route, "path", "")) for route in app.routes)
