"""Requests that schemathesis makes of the service's own description: each answer is as described, and none a fault."""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from hemabridge.service.access import Access
from hemabridge.service.service_app import Limits, make_service_app
from hemabridge.workflows.serve import served_of

schemathesis = pytest.importorskip("schemathesis")

TOKEN = "t" * 32
STATES = {"GET /card", "GET /health", "GET /metrics", "GET /ready"}
WORK = {"POST /v1/classify", "POST /v1/differential", "POST /v1/standardize"}


def files() -> Iterator[bytes]:
    """Small images of several formats, and a part of one."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        out = BytesIO()
        Image.fromarray(noise).save(out, kind)
        yield out.getvalue()
    yield out.getvalue()[:100]


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    """The bodies that schemathesis draws: images, and any bytes."""
    drawn = st.one_of(st.sampled_from(list(files())), st.binary(min_size=1, max_size=300))
    schemathesis.openapi.format("binary", drawn)
    for kind in ("png", "jpeg", "tiff", "bmp", "webp", "jp2", "gif"):
        schemathesis.openapi.media_type(f"image/{kind}", drawn)


def told_of(bundle: Path, token: str, examples: int) -> tuple[list[str], Counter[tuple[str, int]]]:
    """Return what schemathesis finds wrong, and how many answers of each operation had each status."""
    from schemathesis.engine import events, from_schema

    headers = {"Host": "127.0.0.1"} | ({"Authorization": f"Bearer {token}"} if token else {})
    app = make_service_app(served_of(bundle), Limits(body_bytes=100_000, images=5), Access(token))
    generation = {"max-examples": examples, "deterministic": True, "database": "none"}
    settings = {"headers": headers, "generation": generation, "continue-on-failure": True, "request-timeout": 100.0}
    try:
        config = schemathesis.Config.from_dict(settings)
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers=headers)
        wrong: list[str] = []
        statuses: Counter[tuple[str, int]] = Counter()
        for event in from_schema(schema).execute():
            wrong += faults_of(event)
            if isinstance(event, events.ScenarioFinished):
                answers = [one.response for one in event.recorder.interactions.values() if one.response is not None]
                statuses.update((str(event.label), answer.status_code) for answer in answers)
    finally:
        app.state.line.end()
    return wrong, statuses


def faults_of(event: Any) -> Iterator[str]:
    from schemathesis.engine import events

    if isinstance(event, (events.NonFatalError, events.FatalError)):
        yield repr(event)[:2000]
    if isinstance(event, events.ScenarioFinished):
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    yield f"{event.label}: {check.name}: {check.failure_info.failure.message[:1000]}"


@pytest.mark.slow
@pytest.mark.parametrize(("token", "examples"), [("", 20), (TOKEN, 5)])
def test_every_answer_is_as_the_description_says(bundle: Path, token: str, examples: int) -> None:
    wrong, statuses = told_of(bundle, token, examples)
    assert wrong == []
    assert {label for label, status in statuses if status == 200} == STATES | WORK
    assert {label for label, status in statuses if status == 400} == WORK
    refused = {label for label, status in statuses if status == 401}
    assert refused == ((STATES | WORK) - {"GET /health", "GET /ready"} if token else set())
