"""An answer of the service is that of the command, to the byte."""

import base64
import csv
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.grayness import GRAY_REMARK
from hemabridge.imaging.provenance import SyntheticOrigin, write_synthetic
from hemabridge.models import open_model
from hemabridge.models.site_answer import ANSWER_FILE
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.service.service_app import Limits
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.classify.classify import WITHHELD, classify
from hemabridge.workflows.serve import serve, served_of
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize


@pytest.fixture(scope="module")
def folder(unlabeled: Path, drawn_field: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells in several formats, a synthetic one, a damaged one, a field, one of 16 bits, and one too small."""
    out = tmp_path_factory.mktemp("sent") / "images"
    out.mkdir()
    cells = sorted(unlabeled.glob("n-*.png"))[:8]
    for number, suffix in enumerate((".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2")):
        write_image(out / f"cell {number}{suffix}", read_image(cells[number]))
    write_synthetic(out / "synthetic.png", read_image(cells[6]), SyntheticOrigin(recipe="a recipe"))
    (out / "damaged.png").write_bytes(b"no image")
    (out / "field.png").write_bytes(drawn_field.read_bytes())
    write_image(out / "small.png", np.zeros((4, 4, 3), np.uint8))
    Image.fromarray(read_image(cells[7])[..., 1].astype(np.uint16) * 16).save(out / "deep.png")
    Image.fromarray(read_image(cells[7])).save(out / "moving.gif")
    return out


def sent(folder: Path) -> dict[str, Any]:
    """Return the arguments of a request with all files of a folder, in the opposite order of their names."""
    return {"files": [("images", (path.name, path.read_bytes())) for path in sorted(folder.iterdir(), reverse=True)]}


def check_site(answer: Any, out: Path) -> None:
    told = json.loads((out / ANSWER_FILE).read_text(encoding="utf-8"))
    assert answer == {name: told[name] for name in ("answer", "text", "images")}


def test_restained_images_are_those_of_the_command(
    bundle: Path, folder: Path, client_of: Callable[[Path], TestClient], tmp_path: Path
) -> None:
    standardize(bundle, folder, tmp_path / "out")
    with (tmp_path / "out" / LOG).open(newline="", encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    response = client_of(bundle).post("/v1/standardize", **sent(folder))
    assert response.status_code == 200
    told = response.json()
    check_site(told["site"], tmp_path / "out")
    assert [image["name"] for image in told["images"]] == sorted(rows, reverse=True)
    assert len(rows) == 12
    for image in told["images"]:
        row = rows[image["name"]]
        same = ("status", "reason", "sha256", "verdict", "verdict_reasons", "restained_by", "output_sha256", "remark")
        assert {name: image[name] for name in same} == {name: row[name] for name in same}
        assert told["model"] == row["model"]
        written = tmp_path / "out" / image["name"]
        assert base64.b64decode(image["image"]) == (written.read_bytes() if written.exists() else b"")
    assert {row["status"] for row in rows.values()} == {"restained", "failed"}
    assert "whole field" in rows["field.png"]["remark"]


def test_classes_are_those_of_the_command(
    bundle: Path, folder: Path, client_of: Callable[[Path], TestClient], tmp_path: Path
) -> None:
    done = classify(open_model(bundle), folder, tmp_path / "out")
    told = client_of(bundle).post("/v1/classify", **sent(folder)).json()
    if done.site is None:
        assert told["site"] is None
    else:
        check_site(told["site"], tmp_path / "out")
    assert told["classes"] == list(done.classes)
    own = {row.path: (row.predicted, row.probabilities, row.reason) for row in done.rows}
    found = {
        image["name"]: (
            image["predicted_class"],
            image["probabilities"] and tuple(image["probabilities"]),
            image["reason"],
        )
        for image in told["images"]
    }
    assert found == own
    assert len(own) == 12
    assert (done.predicted, done.failed) == (8, 4)
    assert GRAY_REMARK in own["deep.png"][2]


def test_classes_of_an_unknown_hospital_are_withheld(
    bundle: Path, folder: Path, client_of: Callable[[Path], TestClient], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for number, suffix in enumerate((".png", ".jpg", ".tif")):
        write_image(theirs / f"{number}.png", 255 - read_image(folder / f"cell {number}{suffix}"))
    done = classify(open_model(bundle), theirs, tmp_path / "out")
    told = client_of(bundle).post("/v1/classify", **sent(theirs)).json()
    assert told["site"]["answer"] == "out-of-distribution"
    assert {image["reason"] for image in told["images"]} == {row.reason for row in done.rows} == {WITHHELD}
    assert {image["predicted_class"] for image in told["images"]} == {None}


def test_the_run_folder_is_served_as_its_bundle(
    bundle: Path, adapted_run: tuple[Path, Adapted], unlabeled: Path, client_of: Callable[[Path], TestClient]
) -> None:
    image = next(unlabeled.glob("n-*.png"))
    first, second = (
        client_of(model).post("/v1/standardize", files={"images": (image.name, image.read_bytes())}).json()
        for model in (bundle, adapted_run[0])
    )
    assert first["images"][0]["output_sha256"] == second["images"][0]["output_sha256"]
    told = client_of(bundle).post("/v1/classify", files={"images": (image.name, image.read_bytes())}).json()
    assert tuple(told["cautions"]) == adapted_run[1].cautions != ()
    with pytest.raises(InputError, match="states its own"):
        served_of(adapted_run[0], crop_px=30)


def test_the_card_is_that_of_the_bundle(bundle: Path, client_of: Callable[[Path], TestClient]) -> None:
    client = client_of(bundle)
    assert "model-index" in client.get("/card").text
    assert open_model(bundle).restaining.sha256 in client.get("/metrics").text


def test_png_may_be_asked_for(bundle: Path, folder: Path, client_of: Callable[[Path], TestClient]) -> None:
    client = client_of(bundle)
    response = client.post(
        "/v1/standardize?format=png", files={"images": ("moving.gif", (folder / "moving.gif").read_bytes())}
    )
    (image,) = response.json()["images"]
    assert (image["status"], image["media_type"]) == ("restained", "image/png")
    assert base64.b64decode(image["image"]).startswith(b"\x89PNG")
    assert client.post("/v1/standardize?format=exe", **sent(folder)).status_code == 422


def test_small_files_that_become_large_ones_do_not_fill_the_memory(
    tmp_path: Path, client_of: Callable[[Path], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = (
        simulate_cells(("blast",), 4, HOSPITALS[name], 3, 48)[0] for name in ("yellow-field", "clinic-like")
    )
    model, cell = tmp_path / "model.json", tmp_path / "cell.png"
    model.write_text(fit_normalizer("linear-ot", theirs, ours).to_json(), encoding="utf-8")
    write_image(cell, theirs[0])
    one = 4 * (54 + 3 * 48 * 48) // 3  # a BMP in base64
    monkeypatch.setattr("hemabridge.workflows.serve.LARGEST_ANSWER", 2 * one + 100)
    files = [("images", (f"{number}.bmp", cell.read_bytes())) for number in range(4)]
    images = client_of(model).post("/v1/standardize", files=files).json()["images"]
    assert [image["status"] for image in images] == ["restained", "restained", "failed", "failed"]
    assert [image["image"] == "" for image in images] == [False, False, True, True]
    assert images[3]["reason"].endswith("send fewer in each request")


@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", ""), ("127.0.0.1", "short")])
def test_a_service_for_others_needs_a_token_of_some_length(bundle: Path, host: str, token: str) -> None:
    with pytest.raises(InputError, match="expected a token"):
        serve(bundle, crop_px=None, host=host, port=0, token=token, limits=Limits(), ready=pytest.fail)


PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from hemabridge.cli import main
main()
"""


@pytest.mark.slow
def test_the_command_serves_a_bundle_without_pytorch_and_ends_on_a_signal(bundle: Path, unlabeled: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HEMABRIDGE_TOKEN": "t" * 32}
    command = [sys.executable, "-c", PROGRAM, "serve", str(bundle), "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            address = line.removeprefix("Listening on ").partition(". ")[0]
            image = next(unlabeled.glob("n-*.png")).read_bytes()
            headers = {"content-type": "image/png", "authorization": "Bearer " + "t" * 32}
            request = urllib.request.Request(f"{address}/v1/classify", image, headers)
            with urllib.request.urlopen(request, timeout=60) as response:
                told = json.load(response)
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert len(told["images"]) == 1
    assert (process.returncode, errors) == (0, "")


def test_one_image_is_looked_at_once_for_a_whole_field(
    bundle: Path, unlabeled: Path, client_of: Callable[[Path], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def counting(image: Any) -> bool:
        asked.append(image.shape)
        return False

    monkeypatch.setattr("hemabridge.fields.whole_field.is_whole_field", counting)
    image = next(unlabeled.glob("n-*.png"))
    client = client_of(bundle)
    for path in ("/v1/standardize", "/v1/classify"):
        assert client.post(path, files={"images": (image.name, image.read_bytes())}).status_code == 200
    assert len(asked) == 2
