"""Requests drawn from the description of the service, valid and not: each gets an answer that it states."""

from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemabridge.service.access import Access
from hemabridge.service.responses import Classified, ClassifiedImage, ImageSettings, Operation, Served
from hemabridge.service.service_app import Limits, make_service_app

HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
TYPES = st.sampled_from(["image/png", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", ""])
FORMS = st.lists(st.sampled_from([b"--b", b"--b--", b"\r\n", b'Content-Disposition: form-data; filename="a"', b"1"]))
BODIES = st.one_of(st.binary(max_size=3000), FORMS.map(b"".join), FORMS.map(b"\r\n".join))
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "origin", "sec-fetch-site", "host", "accept", "content-encoding", "expect"]),
    HEADER_VALUES,
    max_size=2,
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    def work(sent: Any, settings: Any, progress: Callable[..., None]) -> Classified:
        images = tuple(
            ClassifiedImage(name=one.name, predicted_class=None, probabilities=None, reason="none") for one in sent
        )
        return Classified(model="0" * 64, classes=("cell",), site=None, images=images)

    operation = Operation("classify", "Say nothing", ImageSettings, Classified, work)
    app = make_service_app(Served((operation,), "", {}), Limits(body_bytes=2000, images=3), Access())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened
    app.state.line.end()


def check_described(described: dict[str, Any], path: str, method: str, response: Any) -> None:
    """Make sure that status and content of a response are those of the description, and that it is no server fault."""
    answers = described["paths"][path][method]["responses"]
    assert response.status_code != 500
    assert str(response.status_code) in answers, f"{response.status_code} {response.text[:200]}"
    content = answers[str(response.status_code)].get("content", {})
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind == "application/json":
        schema = content[kind]["schema"] | {"components": described["components"]}
        jsonschema.validate(response.json(), schema)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, kind=TYPES, headers=HEADERS, query=st.sampled_from(["", "?format=png", "?format=x", "?a=%00"]))
def test_any_request_for_work_is_answered_as_described(
    client: TestClient, body: bytes, kind: str, headers: dict[str, str], query: str
) -> None:
    described = client.get("/openapi.json").json()
    response = client.post(f"/v1/classify{query}", content=body, headers={"content-type": kind, **headers})
    check_described(described, "/v1/classify", "post", response)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/health", "/ready", "/metrics", "/card"]), headers=HEADERS)
def test_any_question_is_answered_as_described(client: TestClient, path: str, headers: dict[str, str]) -> None:
    described = client.get("/openapi.json").json()
    check_described(described, path, "get", client.get(path, headers=headers))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=30),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]),
)
def test_any_other_path_is_unknown(client: TestClient, path: str, method: str) -> None:
    response = client.request(method, f"http://127.0.0.1/other/{path.lstrip('/')}")
    assert response.status_code in (404, 405)
    assert set(response.json()) == {"error"}
