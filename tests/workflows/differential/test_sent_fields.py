"""The count of fields that are sent is that of the command, and nothing of them is written."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from small_fields import SMALL_FIELDS

from hemabridge.evaluation.differential_results import CUT, DifferentialResults
from hemabridge.imaging.files import read_image, write_image
from hemabridge.workflows.differential.differential import differential
from hemabridge.workflows.simulate.whole_fields import simulate_fields

OPENED_TO_WRITE: list[list[str]] = []


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields of several formats, one that states its scale, an empty one, one too small, and a damaged one."""
    made, out = tmp_path_factory.mktemp("made") / "simulated", tmp_path_factory.mktemp("fields")
    simulate_fields(made, 4, SMALL_FIELDS, hospitals=("clinic-like",))
    images = [read_image(path) for path in sorted((made / "clinic-like").rglob("*.png"))[:4]]
    write_image(out / "b.png", images[0])
    write_image(out / "a.jpg", images[1])
    per_inch = 25_400 / 0.21
    Image.fromarray(images[2]).save(out / "c.tif", dpi=(per_inch, per_inch))
    Image.fromarray(images[3][..., 1].astype(np.uint16) * 16).save(out / "deep.png")
    write_image(out / "empty.png", np.full((300, 340, 3), 230, np.uint8))
    write_image(out / "small.png", np.zeros((4, 4, 3), np.uint8))
    (out / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    return out


@pytest.fixture(scope="module")
def done(bundle: Path, fields: Path, tmp_path_factory: pytest.TempPathFactory) -> DifferentialResults:
    """What the command says."""
    return differential(bundle, fields, tmp_path_factory.mktemp("count") / "out")


@pytest.fixture(scope="module")
def client(bundle: Path, client_of: Callable[[Path], TestClient]) -> TestClient:
    return client_of(bundle)


def sent(*paths: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (path.name, path.read_bytes())) for path in paths]


def told_of(client: TestClient, folder: Path, query: str = "") -> dict[str, Any]:
    """Return the answer to a request with all files of a folder, in the opposite order of their names."""
    response = client.post(f"/v1/differential{query}", files=sent(*sorted(folder.iterdir(), reverse=True)))
    assert response.status_code == 200
    told: dict[str, Any] = response.json()
    return told


def check_same(told: dict[str, Any], done: DifferentialResults) -> None:
    """Make sure that an answer is the count of the command."""
    assert (told["model"], told["counted"]) == (done.model_sha256, len(done.counted))
    assert told["trusted"] is not done.distrusted
    assert (told["site"] or {"answer": ""})["answer"] == done.site
    assert told["confusion_from"] == done.confusion_from
    assert told["cautions"] == list(done.cautions)
    for row, share in zip(told["classes"], done.shares(), strict=True):
        assert (row.pop("class_name"), row.pop("cells")) == (share.name, share.counted)
        limits = (share.share, share.low, share.high, share.raw, share.raw_low, share.raw_high)
        assert list(row.values()) == [100 * value for value in (*limits, *share.of_100, *share.of_200)]
    same = ("status", "reason", "leukocytes", "platelets", "smudges", "red_cells", "um_per_px", "width", "height")
    assert {field["name"]: [field[name] for name in same] for field in told["fields"]} == {
        field.field: [getattr(field, name) for name in same] for field in done.fields
    }
    same = ("x", "y", "diameter_um", "cell_um", "border", "cluster", "left_out", "probability")
    found = sorted((cell["field"], cell["predicted_class"], *(cell[name] for name in same)) for cell in told["cells"])
    assert found == sorted((one.field, one.predicted, *(getattr(one, name) for name in same)) for one in done.cells)


def test_the_count_is_that_of_the_command(client: TestClient, fields: Path, done: DifferentialResults) -> None:
    told = told_of(client, fields)
    check_same(told, done)
    names = sorted((path.name for path in fields.iterdir()), reverse=True)
    assert [field["name"] for field in told["fields"]] == names
    assert [cell["image"] for cell in told["cells"]] == [names.index(cell["field"]) for cell in told["cells"]]
    assert {field["status"] for field in told["fields"]} >= {"searched", "empty", "unreadable"}
    assert {cell["left_out"] for cell in told["cells"]} >= {"", CUT}
    assert told["confusion_from"]
    assert any(row["percent"] != row["counted_percent"] for row in told["classes"])


@pytest.mark.slow
def test_scale_and_seed_may_be_stated(
    client: TestClient, bundle: Path, fields: Path, done: DifferentialResults, tmp_path: Path
) -> None:
    told = told_of(client, fields, "?um_per_px=0.2&seed=3")
    stated = differential(bundle, fields, tmp_path / "out", um_per_px=0.2, seed=3)
    check_same(told, stated)
    assert [share.share for share in stated.shares()] != [share.share for share in done.shares()]
    for query in ("um_per_px=0", "um_per_px=nan", "um_per_px=inf", "seed=-1", "seed=x"):
        assert client.post(f"/v1/differential?{query}", files=sent(fields / "b.png")).status_code == 422


def test_one_field_may_be_the_body(client: TestClient, fields: Path) -> None:
    content = (fields / "b.png").read_bytes()
    response = client.post("/v1/differential", content=content, headers={"content-type": "image/png"})
    (field,) = response.json()["fields"]
    assert (field["name"], field["status"]) == ("image", "searched")
    assert field["leukocytes"] == len(response.json()["cells"]) > 0


def test_fields_of_the_same_name_are_told_apart(client: TestClient, fields: Path) -> None:
    told = client.post("/v1/differential", files=sent(fields / "b.png", fields / "empty.png", fields / "b.png")).json()
    first, empty, second = told["fields"]
    assert first == second
    assert (empty["status"], empty["leukocytes"]) == ("empty", 0)
    assert [sum(cell["image"] == place for cell in told["cells"]) for place in range(3)] == [
        first["leukocytes"],
        0,
        first["leukocytes"],
    ]


def test_without_a_cell_the_percentages_are_unknown(client: TestClient, fields: Path) -> None:
    told = client.post("/v1/differential", files=sent(fields / "empty.png", fields / "damaged.png")).json()
    assert (told["counted"], told["cells"], told["site"], told["trusted"]) == (0, [], None, True)
    assert {(row["cells"], row["low"], row["high"]) for row in told["classes"]} == {(0, 0.0, 100.0)}
    assert all(field["reason"] for field in told["fields"])


def test_what_is_read_from_the_disk_alone_is_said(client: TestClient, fields: Path) -> None:
    files = [
        ("images", ("slide.svs", (fields / "c.tif").read_bytes())),
        ("images", ("field.dcm", bytes(128) + b"DICM" + bytes(100))),
    ]
    told = client.post("/v1/differential", files=files).json()
    assert [field["status"] for field in told["fields"]] == ["unreadable"] * 2
    assert all("`hemabridge differential MODEL FIELDS OUT`" in field["reason"] for field in told["fields"])


def test_a_small_file_that_declares_a_vast_field_is_left_out(client: TestClient) -> None:
    vast = BytesIO()
    Image.new("L", (12_000, 9_000), 230).save(vast, "TIFF", compression="tiff_lzw")
    told = client.post("/v1/differential", files={"images": ("vast.tif", vast.getvalue())}).json()
    (field,) = told["fields"]
    assert field["status"] == "unreadable"
    assert "the header says 12000 x 9000" in field["reason"]


def test_cells_that_would_fill_the_memory_are_refused(
    client: TestClient, fields: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemabridge.workflows.differential.sent_fields.MOST_CELLS", 1)
    response = client.post("/v1/differential", files=sent(fields / "b.png", fields / "a.jpg"))
    assert response.status_code == 413
    assert response.json()["error"].endswith("send fewer fields")
    monkeypatch.setattr("hemabridge.workflows.differential.sent_fields.MOST_CELLS", 20_000)
    monkeypatch.setattr("hemabridge.workflows.differential.sent_fields.LARGEST_CROPS", 1000)
    assert client.post("/v1/differential", files=sent(fields / "b.png")).status_code == 413


@contextmanager
def written_files() -> Iterator[list[str]]:
    """Collect the paths that this process opens to write."""
    if not OPENED_TO_WRITE:

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and len(OPENED_TO_WRITE) > 1:
                flags = arguments[2] or 0
                if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    OPENED_TO_WRITE[-1].append(str(arguments[0]))

        OPENED_TO_WRITE.append([])
        sys.addaudithook(hook)  # for the rest of the process
    OPENED_TO_WRITE.append([])
    try:
        yield OPENED_TO_WRITE[-1]
    finally:
        OPENED_TO_WRITE.pop()


def test_nothing_of_the_images_is_written(client: TestClient, fields: Path, tmp_path: Path) -> None:
    with written_files() as written:
        (tmp_path / "own").write_bytes(b"")
        for path in ("/v1/differential", "/v1/classify", "/v1/standardize"):
            assert client.post(path, files=sent(*sorted(fields.iterdir()))).status_code == 200
    assert written == [str(tmp_path / "own")]
