"""The pages on which a count is checked: what a browser sends and gets, and what is kept."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hemabridge.domain.site_profile import Answer
from hemabridge.errors import RunError
from hemabridge.evaluation.differential_results import CUT, CountedCell, CountedField, DifferentialResults
from hemabridge.imaging.files import write_image
from hemabridge.report.differential_story import sentences
from hemabridge.review.check_app import make_check_app
from hemabridge.review.check_pages import Checking
from hemabridge.review.corrections import STORE, Corrections

ORIGIN = {"origin": "http://testserver"}
CLASSES = ("lymphocyte", "monocyte", "neutrophil")


def cell_of(number: int, predicted: str, certain: float, left_out: str = "") -> CountedCell:
    rest = (1 - certain) / 2
    probabilities = tuple(certain if name == predicted else rest for name in CLASSES)
    return CountedCell(
        path=f"found/cells/f.png/{number:03d}.png",
        restained=f"restained/f.png/{number:03d}.png",
        field="f.png",
        x=40.0 + 30 * number,
        y=60.0,
        diameter_um=9.0,
        um_per_px=0.2,
        border=left_out == CUT,
        cluster=number == 1,
        score=0.9,
        left_out=left_out,
        predicted=predicted,
        probabilities=probabilities,
        guard="refuse" if number == 1 else "pass",
        cell_um=None if left_out == CUT else 12.5,
    )


@pytest.fixture
def results(tmp_path: Path) -> DifferentialResults:
    """A count of six cells with their pictures; the last one is cut by the border."""
    rng = np.random.default_rng(0)
    cells = [
        cell_of(number, name, certain)
        for number, (name, certain) in enumerate(
            [("lymphocyte", 0.9), ("lymphocyte", 0.5), ("monocyte", 0.6), ("neutrophil", 0.99), ("neutrophil", 0.7)]
        )
    ]
    cells.append(cell_of(5, "neutrophil", 0.8, CUT))
    for cell in cells:
        for path in (cell.path, cell.restained):
            write_image(tmp_path / path, rng.integers(90, 250, (60, 60, 3)).astype(np.uint8))
    write_image(tmp_path / "found/_overlays/f.png.png", rng.integers(90, 250, (148, 240, 3)).astype(np.uint8))
    field = CountedField("f.png", "searched", "", 6, 3, 0, 40, 0.2, 240, 120, "found/_overlays/f.png.png")
    home = ((40, 8, 2), (6, 30, 4), (1, 1, 98))
    return DifferentialResults(
        "patient <1>", "model", "0" * 64, "", CLASSES, tuple(cells), (field,), home, "188 cells at home", "", "", 3
    )


@pytest.fixture
def checking(results: DifferentialResults, tmp_path: Path) -> Iterator[Checking]:
    with Corrections(tmp_path / "page" / STORE) as corrections:
        yield Checking(results, tmp_path, corrections, "Ana", "secret", "en")


@pytest.fixture
def client(checking: Checking) -> TestClient:
    return TestClient(make_check_app(checking), follow_redirects=False)


def test_the_gallery_shows_each_class_the_least_certain_first(client: TestClient) -> None:
    html = client.get("/r/secret/").text
    assert re.findall(r'href="/r/secret/c/(\d)"', html) == ["1", "1", "0", "2", "4", "3", "5"]
    assert "patient &lt;1&gt;" in html
    assert "Cells counted: 5; checked by an expert: 0" in html


def test_a_cell_is_numbered_as_it_lies_in_the_gallery_and_its_sizes_are_stated(client: TestClient) -> None:
    least, cut = (client.get(f"/r/secret/c/{number}").text for number in (1, 5))
    assert "<h1>Cell 1 of 6</h1>" in least  # the least certain lymphocyte, though the second one of the field
    assert "Nucleus 9.0 µm, cell 12.5 µm" in least
    assert "<h1>Cell 6 of 6</h1>" in cut
    assert "Nucleus" not in cut
    gallery = client.get("/r/secret/").text
    assert 'alt="Cell 1: Lymphocyte, 50.0 % certain"' in gallery
    assert "Dim cells with a dash are not counted" in gallery


def test_a_class_is_corrected_and_the_count_follows(client: TestClient, checking: Checking) -> None:
    before = {one.name: one.share for one in checking.shares()}
    told = client.post("/r/secret/c/1", data={"class": "monocyte"}, headers=ORIGIN)
    assert (told.status_code, told.headers["location"]) == (303, "/r/secret/c/0")
    shares = {one.name: one for one in checking.shares()}
    assert (shares["monocyte"].counted, shares["monocyte"].checked) == (2, 1)
    assert shares["monocyte"].share > before["monocyte"] + 0.05
    html = client.get("/r/secret/c/1").text
    assert "Your class: Monocyte" in html
    assert "refuses the re-stained picture" in html
    last = client.post("/r/secret/c/2", data={"class": "no leukocyte"}, headers=ORIGIN)
    assert last.headers["location"] == "/r/secret/c/4"  # no monocyte is left to check
    assert sum(one.counted for one in checking.shares()) == 4


def test_what_is_taken_back_is_kept(client: TestClient, checking: Checking, tmp_path: Path) -> None:
    for name in ("monocyte", "neutrophil", ""):
        told = client.post("/r/secret/c/0", data={"class": name}, headers=ORIGIN)
    assert told.headers["location"] == "/r/secret/c/0"
    assert checking.corrections.answers() == {}
    kept = [(one.who, one.class_name, one.before) for one in checking.corrections.history()]
    assert kept == [
        ("Ana", "monocyte", "lymphocyte"),
        ("Ana", "neutrophil", "monocyte"),
        ("Ana", None, "neutrophil"),
    ]
    with sqlite3.connect(tmp_path / "page" / STORE) as other:
        for statement in ("DELETE FROM correction", "UPDATE correction SET who = 'Ben'"):
            with pytest.raises(sqlite3.IntegrityError, match="only added"):
                other.execute(statement)


def test_the_page_that_follows_takes_the_last_class_back(client: TestClient, checking: Checking) -> None:
    def undo_of(page: str) -> str | None:
        button = r'<button name="class" value="" formaction="(\S+)" data-key="backspace">'
        found = re.search(button, client.get(page).text)
        return None if found is None else found[1]

    assert undo_of("/r/secret/c/1") is None
    shown = "/r/secret/c/1"
    for name in ("monocyte", "neutrophil"):
        shown = client.post(shown, data={"class": name}, headers=ORIGIN).headers["location"]
    assert undo_of(shown) == "/r/secret/c/0"  # cells 1 and 0 have a class now
    checking.corrections.add("Ben", checking.results.cells[3].path, "monocyte", "neutrophil")
    assert undo_of(shown) == "/r/secret/c/0"  # and not the answer of somebody else
    assert 'action="/r/secret/c/0" autocomplete="off"><button name="class" value=""' in client.get("/r/secret/").text
    for last, before in ((0, "/r/secret/c/1"), (1, None)):
        told = client.post(f"/r/secret/c/{last}", data={"class": ""}, headers=ORIGIN)
        assert told.headers["location"] == f"/r/secret/c/{last}"
        assert undo_of(f"/r/secret/c/{last}") == before
    assert list(checking.corrections.answers()) == [checking.results.cells[3].path]


def test_answers_are_there_after_the_store_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "page" / STORE
    with Corrections(path) as first:
        first.add("Ana", "a", "blast", "monocyte")
    with Corrections(path) as again:
        again.add("Ben", "b", "monocyte", "blast")
        assert again.answers() == {"a": "blast", "b": "monocyte"}


def test_another_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / STORE).write_bytes(b"no database, but longer than the head of one" * 9)
    with pytest.raises(RunError, match="move the file away"):
        Corrections(tmp_path / STORE)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("PRAGMA user_version = 7")
    with pytest.raises(RunError, match="version 1"):
        Corrections(tmp_path / "other.sqlite")


def test_pictures_are_those_of_the_cell_and_its_field(client: TestClient) -> None:
    for kind in ("cell", "restained", "field"):
        told = client.get(f"/r/secret/p/{kind}-2.png")
        assert (told.status_code, told.headers["content-type"]) == (200, "image/png")
        assert told.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "address",
    [
        "/r/wrong/",
        "/r/wrong/c/0",
        "/r/wrong/p/cell-0.png",
        "/r/secret/c/6",
        "/r/secret/c/-1",
        "/r/secret/p/cell-6.png",
        "/r/secret/p/other-0.png",
        "/r/secret/p/..%2Fdifferential.png",
    ],
)
def test_nothing_else_is_served(client: TestClient, address: str) -> None:
    assert client.get(address).status_code in (404, 422)


@pytest.mark.parametrize("fields", [{}, {"class": "wombat"}, {"class": ["monocyte", "blast"]}])
def test_a_form_without_one_known_class_is_refused(
    client: TestClient, checking: Checking, fields: dict[str, str]
) -> None:
    assert client.post("/r/secret/c/0", data=fields, headers=ORIGIN).status_code == 400
    assert checking.corrections.history() == []


def test_forms_of_other_sites_are_refused(client: TestClient, checking: Checking) -> None:
    told = client.post("/r/secret/c/0", data={"class": "monocyte"}, headers={"origin": "http://elsewhere"})
    assert told.status_code == 403
    assert client.post("/r/secret/finish", headers=FORM | {"origin": "http://elsewhere"}).status_code == 403
    assert checking.corrections.history() == []
    assert not checking.finished.is_set()


def test_every_response_has_the_headers_of_protection(client: TestClient) -> None:
    for address in ("/r/secret/", "/r/secret/c/0", "/r/secret/p/cell-0.png", "/r/wrong/"):
        headers = client.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-frame-options"] == "DENY"


def test_language_and_end(client: TestClient, checking: Checking) -> None:
    client.post("/r/secret/language", data={"language": "es"}, headers=ORIGIN)
    html = client.get("/r/secret/c/0").text
    assert 'lang="es"' in html
    assert "¿De qué clase es esta célula?" in html
    assert client.post("/r/secret/language", data={"language": "fr"}, headers=ORIGIN).status_code == 400
    assert "El informe está escrito" in client.post("/r/secret/finish", headers=ORIGIN | FORM).text
    assert checking.finished.is_set()


FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("site", ["borderline", "out-of-distribution"])
def test_intervals_are_wider_where_the_site_is_not_in_distribution_and_the_report_says_so(
    results: DifferentialResults, site: Answer
) -> None:
    results = replace(results, cells=40 * results.counted)
    home, there = replace(results, site="in-distribution"), replace(results, site=site)
    wide, narrow = (np.mean([one.high - one.low for one in one.shares()]) for one in (there, home))
    assert wide > narrow + 0.01
    told = " ".join(sentences(there))
    assert f"Since the site is {site}, they allow for other errors" in told
    assert f"{100 * wide:.1f} percentage points wide in the mean; {100 * narrow:.1f} if it were in-distribution" in told
    assert "allow for other errors" not in " ".join(sentences(home))
