"""A review of simulated cells as `review create` writes it, and a reader who talks to its pages without a browser."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hemabridge.recipes.review import ReviewPlan
from hemabridge.review.reading_app import make_app
from hemabridge.review.store import STORE, Store
from hemabridge.workflows.review.create import PICTURES, Created, review_create

ORIGIN = {"origin": "http://testserver"}


@dataclass
class ReaderInTest:
    """A reader's browser, as far as links and forms go."""

    client: TestClient
    link: str
    seen: list[Any] = field(default_factory=list)

    @property
    def path(self) -> str:
        return "/" + self.link.split("/", 3)[3]

    def get(self, page: str = "") -> Any:
        response = self.client.get(self.path + page)
        self.seen.append(response)
        return response

    def post(self, page: str, fields: dict[str, Any], **more: Any) -> Any:
        response = self.client.post(self.path + page, data=fields, headers=ORIGIN | more.pop("headers", {}), **more)
        self.seen.append(response)
        return response

    def form(self) -> dict[str, str]:
        """Return the hidden fields of the current screen's form."""
        html = self.get("read").text
        form = html[html.index('<form id="answers"') :]
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[: form.index("</form>")]))

    def items(self) -> dict[str, list[str]]:
        """Return the values that can be sent for each item of the current screen."""
        html = self.get("read").text
        found: dict[str, list[str]] = {}
        for name, value in re.findall(r'name="([0-9a-f]{24})" value="([^"]*)"', html):
            found.setdefault(name, []).append(value)
        return found

    def answer(self, pick: int = 0, **more: str) -> Any:
        """Choose the answer at that place of each question, and send the form."""
        chosen = {item: values[pick] for item, values in self.items().items()}
        return self.post("read", {**self.form(), **chosen, **more})


def plan_of(hospitals: Path, **changes: Any) -> ReviewPlan:
    return ReviewPlan.model_validate(
        {
            "kind": "review",
            "name": "small",
            "readers": ["Ana Ruiz", "Ben"],
            "arms": [
                {"name": "original", "folder": hospitals / "yellow-field"},
                {"name": "cyclegan-0010", "folder": hospitals / "truth", "of": "original"},
                {"name": "target", "folder": hospitals / "clinic-like"},
            ],
            "tasks": [
                {"questions": ["laboratory"], "cells": 4, "repeats": 2, "practice": 1},
                {"questions": ["stain", "stain_faults"], "cells": 2},
                {"questions": ["morphology"], "cells": 2},
            ],
            "apart": 4,
        }
        | changes
    )


@pytest.fixture(scope="session")
def make_review(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Created]:
    """A function that writes a review, with changes to the plan above."""

    def make(**changes: Any) -> Created:
        return review_create(plan_of(hospitals, **changes), tmp_path_factory.mktemp("reviews") / "review")

    return make


@pytest.fixture(scope="session")
def pristine(make_review: Callable[..., Created]) -> Created:
    return make_review()


@pytest.fixture
def created(pristine: Created, tmp_path: Path) -> Created:
    """The review of each test: a copy, because readers change it."""
    return replace(pristine, out=Path(shutil.copytree(pristine.out, tmp_path / "review")))


@pytest.fixture
def store(created: Created) -> Iterator[Store]:
    with Store.open(created.out / STORE) as opened:
        yield opened


@pytest.fixture
def client(created: Created, store: Store) -> Iterator[TestClient]:
    app = make_app(store, created.out / PICTURES)
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def ana(created: Created, client: TestClient) -> ReaderInTest:
    return ReaderInTest(client, created.links["Ana Ruiz"])


@pytest.fixture
def ben(created: Created, client: TestClient) -> ReaderInTest:
    return ReaderInTest(client, created.links["Ben"])
