"""What a request gets: answers, refusals, and nothing that names a patient."""

import json
import re
import threading
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hemabridge.review.security import is_loopback
from hemabridge.service.access import Access
from hemabridge.service.service_app import Limits

CLASSIFY = "/v1/classify"
TOKEN = "t" * 32
FORM = "multipart/form-data; boundary=x"


def form(*contents: bytes, name: str = "cell.png") -> dict[str, Any]:
    return {"files": [("images", (name, content, "image/png")) for content in contents]}


def background(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Make a request in a thread; its response is put into the list."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    return thread, found


def test_images_of_a_form_are_answered_in_their_order(client: TestClient) -> None:
    response = client.post(CLASSIFY, **form(b"12345", b"123", name="célula 1.png"))
    assert response.status_code == 200
    assert [image["name"] for image in response.json()["images"]] == ["célula 1.png"] * 2
    assert [image["predicted_class"] for image in response.json()["images"]] == ["5", "3"]
    assert response.headers["cache-control"] == "no-store"
    assert "img-src 'self' blob:" in response.headers["content-security-policy"]


def test_a_body_may_be_one_image(client: TestClient) -> None:
    response = client.post(CLASSIFY, content=b"1234567", headers={"content-type": "image/png"})
    assert [image["predicted_class"] for image in response.json()["images"]] == ["7"]


def test_health_state_card_and_description(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/card").text == "# Card\n"
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {CLASSIFY, "/health", "/ready", "/metrics", "/card"}
    assert "/v1/standardize" not in paths  # this model does not re-stain
    assert client.post("/v1/standardize", **form(b"1")).status_code == 404
    wrong = client.get(CLASSIFY)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "image/png"),
        (b"abc", "text/plain"),
        (b"abc", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\n1\r\n--x--', FORM),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n1\r\n--x--\r\n", "multipart/form-data"),
    ],
)
def test_what_is_no_form_with_images_is_refused(client: TestClient, body: bytes, content_type: str) -> None:
    response = client.post(CLASSIFY, content=body, headers={"content-type": content_type})
    assert response.status_code == 400
    assert "expected" in response.json()["error"]


def test_too_many_bytes_and_too_many_images_are_refused(make_client: Callable[..., TestClient]) -> None:
    client = make_client(Limits(body_bytes=1000, images=2))
    assert client.post(CLASSIFY, **form(b"1" * 1000)).status_code == 413

    def unstated() -> Any:
        yield from [b"1" * 600] * 2

    streamed = client.post(CLASSIFY, content=unstated(), headers={"content-type": "image/png"})
    assert streamed.status_code == 413
    assert client.post(CLASSIFY, **form(b"1", b"2", b"3")).status_code == 400
    assert client.post(CLASSIFY, **form(b"1", b"2")).status_code == 200


def test_a_full_line_sends_others_away_and_loses_nothing(make_client: Callable[..., TestClient], work: Any) -> None:
    client = make_client(Limits(requests=2))
    first, found = background(lambda: client.post(CLASSIFY, **form(b"wait")))
    assert work.begun.wait(10)
    second, later = background(lambda: client.post(CLASSIFY, **form(b"12")))
    deadline = time.monotonic() + 10
    while client.get("/ready").status_code == 200:
        assert time.monotonic() < deadline
    refused = client.post(CLASSIFY, **form(b"123"))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert client.get("/ready").json() == {"status": "busy"}
    assert client.get("/health").status_code == 200
    work.go_on.set()
    first.join(10)
    second.join(10)
    assert [found[0].status_code, later[0].status_code] == [200, 200]
    assert client.get("/ready").status_code == 200


def test_work_that_takes_too_long_is_ended_and_its_place_is_free_again(
    make_client: Callable[..., TestClient], work: Any
) -> None:
    client = make_client(Limits(requests=1, seconds=0.1))
    late = client.post(CLASSIFY, **form(b"wait"))
    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    deadline = time.monotonic() + 10
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
    assert work.done == 0
    assert client.post(CLASSIFY, **form(b"12")).status_code == 200


def test_an_unexpected_error_names_no_patient(
    client: TestClient, logged: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = client.post(CLASSIFY, **form(b"fail", name="Ana Ruiz.png"))
    assert failed.status_code == 500
    assert "ValueError in conftest.py" in logged.getvalue()
    told = failed.text + logged.getvalue() + "".join(capfd.readouterr()) + client.get("/metrics").text
    assert "Ana" not in told


def test_the_metrics_count_requests_images_and_time(client: TestClient) -> None:
    client.post(CLASSIFY, **form(b"1", b"2", name="Ana Ruiz.png"))
    client.get("/patients/Ana")
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = response.text
    assert r'hemabridge_info{version="1",model="a\"b"} 1' in text
    assert 'hemabridge_requests_total{path="/v1/classify",status="200"} 1' in text
    assert 'hemabridge_requests_total{path="other",status="404"} 1' in text
    assert 'hemabridge_images_total{path="/v1/classify",outcome="classified"} 2' in text
    assert 'hemabridge_request_seconds_count{path="/v1/classify"} 1' in text
    assert "Ana" not in text
    sample = re.compile(r'(#.*|[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)*\})? [0-9.e+-]+)')
    assert [line for line in text.splitlines() if not sample.fullmatch(line)] == []


def test_a_token_is_needed_for_all_but_the_state(make_client: Callable[..., TestClient]) -> None:
    client = make_client(access=Access(TOKEN, only_loopback=False), base_url="http://hospital.example")
    for path in ("/card", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    refused = client.post(CLASSIFY, headers={"authorization": f"Bearer {TOKEN}x"}, **form(b"1"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.post(CLASSIFY, headers={"authorization": f"bearer {TOKEN}"}, **form(b"1")).status_code == 200
    assert client.get("/health").status_code == client.get("/ready").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_servers_are_refused(client: TestClient, headers: dict[str, str], work: Any) -> None:
    assert client.post(CLASSIFY, headers=headers, **form(b"1")).status_code == 403
    assert client.get("/card", headers=headers).status_code == 403
    assert work.done == 0


def test_the_own_page_is_answered(client: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:8322", "sec-fetch-site": "same-origin"}
    assert client.post(CLASSIFY, headers=headers, **form(b"1")).status_code == 200
    assert client.get("/card", headers={"host": "localhost:8322"}).status_code == 200
    assert client.get("/card", headers={"host": "[::1]:8322"}).status_code == 200


def test_which_addresses_this_computer_alone_reaches() -> None:
    answers = {name: is_loopback(name) for name in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "hospital", "")}
    assert [name for name, is_own in answers.items() if is_own] == ["localhost", "127.0.0.1", "::1"]


def test_answers_are_as_the_description_says(client: TestClient) -> None:
    described = json.loads(client.get("/openapi.json").text)
    answers = described["paths"][CLASSIFY]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "403", "413", "422", "429", "500", "503"}
    body = described["paths"][CLASSIFY]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "image/jpeg", "image/tiff"} <= set(body)
