"""DICOM files in the commands that take images of cells: derived files are written, and resumed to the byte."""

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from hemabridge.cli.app import app
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import MissingExtraError
from hemabridge.imaging import dicom
from hemabridge.imaging.files import read_image
from hemabridge.models import open_model
from hemabridge.service.access import Access
from hemabridge.service.service_app import Limits, make_service_app
from hemabridge.workflows.fit import fit
from hemabridge.workflows.serve import served_of
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize

WriteDicom = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_dicom: WriteDicom) -> Path:
    """Three DICOM files with patients, a PNG, a JPEG that is named as DICOM, and a DICOM file that is named as PNG."""
    out = tmp_path_factory.mktemp("dicom") / "in"
    cells, _ = simulate_cells(["neutrophil"], 6, HOSPITALS["yellow-field"], 1, 64)
    for number, cell in enumerate(cells[:3]):
        write_dicom(
            out / "patient" / f"{number}.dcm", cell, PatientName="Secret^Person", PatientID="S47", StudyID="S48"
        )
    Image.fromarray(cells[3]).save(out / "plain.png")
    Image.fromarray(cells[4]).save(out / "wrong.dcm", format="JPEG")
    write_dicom(out / "other.dcm", cells[5], PatientName="Secret^Person").rename(out / "other.png")
    return out


@pytest.fixture(scope="module")
def model(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "linear-ot.json"
    fit("linear-ot", hospitals / "yellow-field", hospitals / "clinic-like", out)
    return out


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / LOG).open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != LOG}


def test_each_format_comes_out_as_it_went_in(folder: Path, model: Path, tmp_path: Path) -> None:
    done = standardize(model, folder, tmp_path / "out")
    assert {row.path: row.status for row in done.rows} == {
        "other.png": "restained",
        "patient/0.dcm": "restained",
        "patient/1.dcm": "restained",
        "patient/2.dcm": "restained",
        "plain.png": "restained",
        "wrong.dcm": "failed",
    }
    (failed,) = (row for row in done.rows if row.status == "failed")
    assert "rename the file" in failed.reason
    for number in range(3):
        name = f"patient/{number}.dcm"
        made = pydicom.dcmread(tmp_path / "out" / name)
        source = pydicom.dcmread(folder / name)
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        expected = open_model(model).standardize([read_image(folder / name)])[0]
        assert (read_image(tmp_path / "out" / name) == expected).all()
    with Image.open(tmp_path / "out" / "other.png") as image:
        assert image.format == "PNG"
    assert [name for name, content in contents(tmp_path / "out").items() if b"Secret" in content] == []


def test_a_resumed_job_gives_the_same_bytes(folder: Path, model: Path, tmp_path: Path) -> None:
    standardize(model, folder, tmp_path / "whole")
    standardize(model, folder, tmp_path / "resumed")
    (tmp_path / "resumed" / "patient" / "1.dcm").unlink()
    kept = (tmp_path / "resumed" / "patient" / "0.dcm").stat().st_mtime_ns
    standardize(model, folder, tmp_path / "resumed")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert (tmp_path / "resumed" / "patient" / "0.dcm").stat().st_mtime_ns == kept
    assert rows_of(tmp_path / "resumed") == rows_of(tmp_path / "whole")


def test_with_another_wish_for_the_identity_only_dicom_files_are_done_again(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    standardize(model, folder, out)
    plain = (out / "plain.png").stat().st_mtime_ns
    result = CliRunner().invoke(app, ["standardize", str(model), str(folder), str(out), "--keep-identity"])
    assert result.exit_code == 1  # one file is not what its name says
    kept = pydicom.dcmread(out / "patient" / "0.dcm")
    assert (str(kept.PatientName), kept.PatientID, kept.StudyID) == ("Secret^Person", "S47", "S48")
    assert kept.StudyInstanceUID == pydicom.dcmread(folder / "patient" / "0.dcm").StudyInstanceUID
    assert (out / "plain.png").stat().st_mtime_ns == plain
    assert rows_of(out)["patient/0.dcm"]["model"].endswith(" with identity")
    assert not rows_of(out)["plain.png"]["model"].endswith(" with identity")
    standardize(model, folder, out)
    assert str(pydicom.dcmread(out / "patient" / "0.dcm").PatientName) == ""


def test_index_and_find_take_dicom_cells(folder: Path, tmp_path: Path) -> None:
    indexed = CliRunner().invoke(app, ["index", str(folder), "--site", "a", "--out", str(tmp_path / "manifest.csv")])
    assert indexed.exit_code == 0, indexed.output
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    assert [name for name in ("patient/0.dcm", "plain.png", "other.png") if name not in text] == []
    found = CliRunner().invoke(app, ["find", str(folder), str(tmp_path / "found"), "--um-per-px", "0.25"])
    assert found.exit_code == 0, found.output
    with (tmp_path / "found" / "fields.csv").open(newline="", encoding="utf-8") as file:
        status = {row["field"]: row["status"] for row in csv.DictReader(file)}
    assert status["patient/0.dcm"] == status["plain.png"] != "unreadable"


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[TestClient]:
    service = make_service_app(served_of(model), Limits(), Access())
    with TestClient(service, base_url="http://127.0.0.1") as opened:
        yield opened
    service.state.line.end()


@pytest.mark.parametrize("name", ["0.dcm", "without-suffix"])
def test_the_service_answers_with_the_same_bytes_or_with_png(
    folder: Path, model: Path, client: TestClient, tmp_path: Path, name: str
) -> None:
    standardize(model, folder, tmp_path / "out")
    content = (folder / "patient" / "0.dcm").read_bytes()
    told = client.post("/v1/standardize", files=[("images", (name, content))]).json()["images"][0]
    assert told["status"] == "restained"
    assert told["media_type"] == "application/dicom"
    assert told["output_sha256"] == hashlib.sha256((tmp_path / "out" / "patient" / "0.dcm").read_bytes()).hexdigest()
    as_png = client.post("/v1/standardize?format=png", files=[("images", (name, content))]).json()["images"][0]
    assert as_png["media_type"] == "image/png"


def test_without_pydicom_only_the_dicom_files_fail(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(source: object, where: str) -> None:
        raise MissingExtraError(f"{where}: DICOM files need pydicom: pip install 'hemabridge[dicom]'")

    monkeypatch.setattr(dicom, "read_attributes", missing)
    done = standardize(model, folder, tmp_path / "out")
    failed = {row.path: row.reason for row in done.rows if row.status == "failed"}
    assert sorted(failed) == ["other.png", "patient/0.dcm", "patient/1.dcm", "patient/2.dcm", "wrong.dcm"]
    assert "pip install" in failed["patient/0.dcm"]
