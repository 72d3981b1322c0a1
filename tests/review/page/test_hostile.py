"""Requests that no page of ours would send."""

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient

from hemabridge.review import requests
from hemabridge.review.security import HEADERS, MAX_BODY_BYTES, WRONG_TOKENS, GuessThrottle, read_form
from hemabridge.review.store import Store
from hemabridge.workflows.review.create import Created

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_every_response_has_the_strict_headers(client: TestClient, ana: Any) -> None:
    responses = [
        ana.get(),
        ana.get("read"),
        ana.get("p/x.png"),
        ana.post("read", {}),
        client.get("/nowhere"),
        client.put("/r/x/"),
        client.get(next(iter(ana.get().text.split('href="')[1:])).partition('"')[0]),
    ]
    assert {response.status_code for response in responses} >= {200, 400, 404, 405}
    for response in responses:
        assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in response.headers
        assert "set-cookie" not in response.headers
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_pages_are_not_stored_by_browsers_and_hold_nothing_inline(ana: Any) -> None:
    for page in ("", "read", "pause", "part"):
        response = ana.get(page)
        assert response.headers["cache-control"] == "no-store"
        assert " style=" not in response.text
        assert "<style" not in response.text
        assert " onclick=" not in response.text
        assert response.text.count("<script") == response.text.count('<script src="/s/') == 1


@pytest.mark.parametrize(
    "name",
    [
        "../key.json",
        "..%2fkey.json",
        "%2e%2e/key.json",
        "....//key.json",
        "..\\key.json",
        "p/../../../key.json",
        "p/..%2f..%2fkey.json",
        "p/..%2fkey.json.png",
        "p/%00.png",
        "p//etc/passwd.png",
        "p/" + "a" * 5000 + ".png",
        "p/" + "0" * 24 + ".png",
    ],
)
def test_no_path_leads_out_of_the_pictures(ana: Any, created: Created, name: str) -> None:
    response = ana.get(name)
    assert response.status_code == 404
    assert b"repeat_of" not in response.content
    assert b"root:" not in response.content


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "head"])
def test_other_methods_change_nothing(client: TestClient, ana: Any, store: Store, method: str) -> None:
    assert getattr(client, method)(f"{ana.path}read").status_code == 405
    assert store.verdicts() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://["},
        {"origin": "http://testserver", "sec-fetch-site": "cross-site"},
        {"origin": "http://testserver", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_forms_from_elsewhere_are_refused(client: TestClient, ana: Any, store: Store, headers: dict[str, str]) -> None:
    fields = {**ana.form(), **{item: values[0] for item, values in ana.items().items()}}
    response = client.post(f"{ana.path}read", data=fields, headers=headers)
    assert response.status_code == 403
    assert store.verdicts() == []
    own = client.post(f"{ana.path}read", data=fields, headers={"sec-fetch-site": "same-origin"})
    assert own.status_code == 303


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x=" + b"a" * MAX_BODY_BYTES, FORM, 413),
        (b"&".join(b"a%d=1" % number for number in range(500)), FORM, 400),
        (b"\xff\xfe=%ff", FORM, 400),
        (b"screen=%ff%fe&submission=x", FORM, 400),
        (b'{"screen": 1}', {"content-type": "application/json"}, 400),
        (b"x=1", {"content-type": "multipart/form-data; boundary=x"}, 400),
        (b"", FORM, 400),
        (b"screen=../../x&submission=x", FORM, 400),
    ],
)
def test_bodies_that_are_no_forms_are_refused(
    client: TestClient, ana: Any, store: Store, body: bytes, headers: dict[str, str], status: int
) -> None:
    for page in ("read", "undo", "left", "language"):
        response = client.post(ana.path + page, content=body, headers={"origin": "http://testserver", **headers})
        assert response.status_code == status
    assert store.verdicts() == []
    assert ana.get("read").status_code == 200


def test_a_body_without_a_length_is_cut_off_as_well(client: TestClient, ana: Any) -> None:
    parts = (b"a" * 1000 for _ in range(1000))
    response = client.post(f"{ana.path}read", content=parts, headers={"origin": "http://testserver", **FORM})
    assert response.status_code == 413


def test_a_reader_cannot_answer_undo_or_see_for_another(ana: Any, ben: Any, store: Store) -> None:
    ana.answer(0)
    last = next(iter({verdict.item for verdict in store.verdicts()}))
    fields = {**ana.form(), **{item: values[0] for item, values in ana.items().items()}}
    if ben.form()["screen"] == fields["screen"]:
        ben.answer(0)
    assert ben.post("read", fields).status_code == 409
    assert ben.post("undo", {"screen": fields["screen"]}).status_code == 409
    assert last in {verdict.item for verdict in store.verdicts() if verdict.reader == "Ana Ruiz"}


def test_a_browser_that_leaves_before_the_end_of_its_form_is_no_fault_of_ours() -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    headers = {"host": "here", "origin": "http://here", "content-length": "100", **FORM}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "headers": encoded}, receive)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read_form(request))
    assert refused.value.status_code == 400


@pytest.mark.parametrize("value", ["", "Target", "target ", "target\x00", "<b>", "unsure", "9" * 3000])
def test_only_answers_that_can_be_chosen_are_taken(ana: Any, store: Store, value: str) -> None:
    fields = {**ana.form(), **dict.fromkeys(ana.items(), value)}
    assert ana.post("read", fields).status_code == 422
    assert store.verdicts() == []


def test_two_answers_to_one_question_are_none(ana: Any, store: Store) -> None:
    item = next(iter(ana.items()))
    assert ana.post("read", {**ana.form(), item: ["target", "other"]}).status_code == 422
    assert store.verdicts() == []


def test_a_fault_of_ours_is_told_calmly_without_its_cause(ana: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("secret cause")

    monkeypatch.setattr(requests.session, "show", fails)
    response = ana.get("read")
    assert response.status_code == 500
    assert "All earlier answers are stored" in response.text
    assert "secret cause" not in response.text


def _fill_a_database(*_: object, **__: object) -> None:
    full = sqlite3.connect(":memory:")
    full.execute("PRAGMA max_page_count = 1")
    full.execute("CREATE TABLE answer (text)")


def _fill_a_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("full", [_fill_a_database, _fill_a_disk])
def test_a_full_disk_is_told_on_a_page(ana: Any, monkeypatch: pytest.MonkeyPatch, full: Callable[..., None]) -> None:
    monkeypatch.setattr(requests.session, "submit", full)
    response = ana.answer()
    assert response.status_code == 507
    assert "All earlier answers are stored" in response.text


def test_tokens_cannot_be_guessed_in_a_hurry_and_readers_who_are_in_go_on(client: TestClient, ana: Any) -> None:
    assert ana.get("").status_code == 200
    statuses = [client.get(f"/r/wrong-{number}/").status_code for number in range(WRONG_TOKENS + 5)]
    assert statuses == [404] * WRONG_TOKENS + [429] * 5
    assert client.get("/r/wrong/read").headers["retry-after"] == "60"
    assert ana.get("read").status_code == 200


async def _status_after(wrong: int, wait: float) -> int:
    """Return the status of one more wrong token, some seconds after so many."""

    async def nobody(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})

    told: list[int] = []

    async def send(message: Any) -> None:
        told.append(message.get("status", 0))

    layer = GuessThrottle(nobody, most=3, seconds=0.2)
    for number in range(wrong):
        await layer({"type": "http", "path": f"/r/{number}/", "client": ("192.0.2.1", 1)}, None, send)
    await asyncio.sleep(wait)
    told.clear()
    await layer({"type": "http", "path": "/r/x/", "client": ("192.0.2.1", 1)}, None, send)
    return told[0]


@pytest.mark.parametrize(("wrong", "wait", "status"), [(2, 0.0, 404), (3, 0.0, 429), (3, 0.4, 404)])
def test_wrong_tokens_are_forgotten_after_a_while(wrong: int, wait: float, status: int) -> None:
    assert asyncio.run(_status_after(wrong, wait)) == status
