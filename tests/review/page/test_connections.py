import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from hemabridge.review.connections import BoundedConnection
from hemabridge.review.security import HEADERS

LONG = 30.0
"""Seconds after which a test fails rather than waits."""


class Impatient(BoundedConnection):
    request_seconds = 0.3
    most_of_one_peer = 5


async def application(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def with_server(client: Callable[[int], Awaitable[Any]], kind: type[BoundedConnection] = Impatient) -> Any:
    async def run() -> Any:
        config = uvicorn.Config(application, host="127.0.0.1", port=0, http=kind, lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            return await asyncio.wait_for(client(server.servers[0].sockets[0].getsockname()[1]), LONG)
        finally:
            server.should_exit = True
            await serving

    return asyncio.run(run())


async def answer_to(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "begun",
    [
        (b"",),
        (b"GET / HTTP/1.1\r\nHo",),
        (b"GET / HTTP/1.1\r\n", *(b"X-A: b\r\n",) * 8),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", *(b"a",) * 8),
    ],
)
def test_a_request_that_does_not_become_whole_ends_its_connection(begun: tuple[bytes, ...]) -> None:
    assert with_server(lambda port: answer_to(port, *begun, pause=0.1)) == b""


def test_whole_requests_one_after_another_are_answered_for_longer_than_one_may_take() -> None:
    async def client(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(8):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.1)
        writer.close()
        return 8

    assert with_server(client) == 8


def test_one_peer_cannot_hold_all_connections() -> None:
    async def client(port: int) -> tuple[int, bytes]:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        await asyncio.sleep(0.1)
        ended = sum([reader.at_eof() or reader.exception() is not None for reader, _ in held])
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        return ended, await answer_to(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    class Patient(Impatient):
        request_seconds = LONG

    ended, answer = with_server(client, Patient)
    assert ended == 3
    assert answer.startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_answered_with_all_headers() -> None:
    answer = with_server(lambda port: answer_to(port, b"\x16\x03\x01\r\n\r\n")).decode()
    assert answer.startswith("HTTP/1.1 400")
    assert [name for name in HEADERS if f"\r\n{name}: " not in answer] == []
