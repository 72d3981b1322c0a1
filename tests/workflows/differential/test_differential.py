"""A count of simulated fields, from pictures to percentages, by a classifier that is a formula."""

import csv
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_fields import SMALL_FIELDS

from hemabridge.cli import main
from hemabridge.data.simulate import simulate_cells
from hemabridge.data.simulate.hospitals import HOSPITALS
from hemabridge.errors import InputError, ModelError
from hemabridge.evaluation.differential_results import CUT, DifferentialResults
from hemabridge.fields import find_cells
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.metrics.prevalence import estimate_shares
from hemabridge.models.open import find_snapshot
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.report.differential_story import sentences
from hemabridge.workflows.differential.differential import differential
from hemabridge.workflows.simulate.whole_fields import simulate_fields

DESCRIBED = 'file = "brightest.onnx"\nclasses = ["red", "green", "blue"]\n'


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fields of one patient, an empty one, and a text file."""
    out = tmp_path_factory.mktemp("fields") / "simulated"
    simulate_fields(out, 3, SMALL_FIELDS, hospitals=("clinic-like",))
    folder = out / "clinic-like"
    write_image(folder / "empty.png", np.full((300, 340, 3), 230, np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    return folder


@pytest.fixture
def model(brightest: Path) -> Path:
    """A classifier that calls a cell by its brightest channel."""
    file = brightest.parent / "theirs.toml"
    file.write_text(DESCRIBED, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def counted(
    brightest_bytes: bytes, fields: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DifferentialResults]:
    """The folder and the results of a count by this classifier."""
    folder = tmp_path_factory.mktemp("counted")
    (folder / "brightest.onnx").write_bytes(brightest_bytes)
    (folder / "theirs.toml").write_text(DESCRIBED, encoding="utf-8")
    return folder / "out", differential(folder / "theirs.toml", fields, folder / "out")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_speaks_against_the_model_is_said_first(counted: tuple[Path, DifferentialResults]) -> None:
    assert counted[1].cautions == ()
    cautioned = replace(counted[1], cautions=("CAUTION: the classes are doubtful.",))
    assert next(sentences(cautioned)) == "CAUTION: the classes are doubtful."
    assert DifferentialResults.from_json(cautioned.to_json()) == cautioned


def test_cells_are_found_classified_and_counted(counted: tuple[Path, DifferentialResults], fields: Path) -> None:
    out, done = counted
    truth = [row for row in rows(fields / "truth.csv") if row["class"] == "lymphocyte"]
    assert len(done.cells) == pytest.approx(len([row for row in truth if float(row["visible"]) > 0.5]), abs=2)
    statuses = {field.field: field.status for field in done.fields}
    assert statuses["empty.png"] == "empty"
    assert statuses["broken.png"] == "unreadable"
    assert len(statuses) == 5  # no table is a field
    assert [cell.left_out for cell in done.cells] == [CUT if cell.border else "" for cell in done.cells]
    shares = done.shares()
    assert sum(one.counted for one in shares) == len(done.counted)
    assert Counter(cell.predicted for cell in done.counted) == Counter(
        {one.name: one.counted for one in shares if one.counted}
    )
    assert sum(one.share for one in shares) == pytest.approx(1.0)
    table = rows(out / "differential.csv")
    assert [row["class"] for row in table] == ["red", "green", "blue"]
    assert [float(row["counted_percent"]) for row in table] == pytest.approx(
        [100 * one.raw for one in shares], abs=0.01
    )
    cells = rows(out / "cells.csv")
    assert [row["field"] for row in cells] == [cell.field for cell in done.cells]
    assert all((out / row["path"]).is_file() for row in cells)
    assert all(row["cell_um"] == "" for row in cells if row["border"] == "true")
    assert any(float(row["cell_um"]) > float(row["diameter_um"]) for row in cells if row["cell_um"])
    assert "Diameter of nucleus and cell in µm, median: " in (out / "report.html").read_text(encoding="utf-8")
    assert {row["counted"] for row in cells} <= {"true", "false"}
    assert DifferentialResults.read(out / "differential.json") == done


def test_a_blurred_cell_of_a_sharp_field_is_not_counted_and_the_report_says_so(
    model: Path,
    fields: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counted: tuple[Path, DifferentialResults],
) -> None:
    widths = iter([2.0, *[0.8] * 100])
    monkeypatch.setattr(find_cells, "cell_edge_um", lambda crop, um: next(widths))
    done = differential(model, fields, tmp_path / "out")
    told = "blurred: the edge of its nucleus is 2.0 um wide, which is more than 1.6 um"
    assert [cell.left_out == told for cell in done.cells] == [True] + [False] * (len(done.cells) - 1)
    assert len(done.counted) == len(counted[1].counted) - 1
    assert "1 blurred cells of sharp fields are classified and not counted." in list(sentences(done))


def test_a_cell_that_run_calls_unknown_is_counted_and_the_report_says_so(
    counted: tuple[Path, DifferentialResults],
) -> None:
    first = next(cell for cell in counted[1].cells if cell.counted)
    reasons = {first.path: "it resembles red most, and not enough"}
    cells = tuple(replace(cell, unknown=reasons.get(cell.path, "")) for cell in counted[1].cells)
    done = replace(counted[1], cells=cells)
    assert done.shares() == counted[1].shares()
    assert any(
        said.startswith("1 of the counted cells are what `hemabridge run` calls unknown") for said in sentences(done)
    )
    seen = done.corrected({first.path: "red"})
    assert not any("calls unknown" in said for said in sentences(seen))


def test_the_report_is_one_file_and_says_what_was_left_out(counted: tuple[Path, DifferentialResults]) -> None:
    out, done = counted
    html = (out / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert f"{len(done.counted)} leukocytes counted" in html
    assert "empty.png" in html
    assert "cover counting error only" in html
    assert "as counted, not corrected" in html
    assert "<code>hemabridge check OUT</code> serves a page" in html
    assert "`" not in html.partition("</style>")[2]
    assert "corrected for the classifier" not in html
    first = done.counted[0]
    assert f"{first.field}, cell {first.number}</small>" in html


def test_with_labeled_cells_the_counts_are_corrected(model: Path, fields: Path, tmp_path: Path) -> None:
    for name, channel in (("red", 0), ("green", 1), ("blue", 2)):
        for number in range(8):
            image = np.full((40, 40, 3), 60, np.uint8)
            image[::2, :, channel if number else (channel + 1) % 3] = 220
            image[12:28, 12:28] = (90, 40, 130)
            image[12 + number, 12] = (90, 41, 130)
            write_image(tmp_path / "home" / name / f"{number}.png", image)
    done = differential(model, fields, tmp_path / "out", home=tmp_path / "home")
    assert sum(map(sum, done.confusion)) == 24
    assert np.trace(done.matrix) < 24
    assert all(one.low <= one.share <= one.high for one in done.shares())
    counts = np.array([one.counted for one in done.shares()])
    expected = estimate_shares(counts, done.matrix)
    assert [one.share for one in done.shares()] == pytest.approx(expected.share.tolist())
    assert all(one.share != one.raw for one in done.shares())
    assert "corrected for the classifier" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_cells_are_restained_before_they_are_classified(model: Path, fields: Path, tmp_path: Path) -> None:
    theirs, _ = simulate_cells(["lymphocyte"], 6, HOSPITALS["clinic-like"], 1, 64)
    ours, _ = simulate_cells(["lymphocyte"], 6, HOSPITALS["yellow-field"], 2, 64)
    normalizer = tmp_path / "reinhard-site.json"
    normalizer.write_text(fit_on_cells("reinhard-site", theirs, ours).to_json(), encoding="utf-8")
    done = differential(model, fields, tmp_path / "out", restain=normalizer)
    cell = done.cells[0]
    before, after = (read_image(tmp_path / "out" / name).astype(float) for name in (cell.path, cell.restained))
    blue = [image[..., 2].mean() / image[..., 0].mean() for image in (before, after)]
    assert blue[1] < 0.85 * blue[0]
    assert {one.name: one.counted for one in done.shares()}["blue"] == 0
    with pytest.raises(ModelError, match="re-stains"):
        differential(model, fields, tmp_path / "other", restain=model)


def test_an_experts_classes_count_as_certain(counted: tuple[Path, DifferentialResults]) -> None:
    done = counted[1]
    first, second, *_ = done.counted
    fixed = done.corrected({first.path: "green", second.path: "no leukocyte"})
    assert len(fixed.counted) == len(done.counted) - 1
    green = next(one for one in fixed.shares() if one.name == "green")
    assert green.checked == 1
    named = done.corrected({first.path: "other leukocyte"}).shares()
    assert [one.name for one in named] == ["red", "green", "blue", "other leukocyte"]
    assert sum(one.share for one in named) == pytest.approx(1.0)
    assert done.corrected({}) == done


def test_the_report_is_written_in_spanish_and_in_no_unknown_language(
    model: Path, fields: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["hemabridge", "differential", str(model), str(fields), str(tmp_path / "out"), "--language", "es"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="es">' in html
    assert "leucocitos contados" in html
    with pytest.raises(InputError, match="expected --language en or es"):
        differential(model, fields, tmp_path / "other", language="fr")
    assert not (tmp_path / "other").exists()


def test_a_folder_without_leukocytes_is_an_error(model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "glass" / "one.png", np.full((300, 300, 3), 230, np.uint8))
    with pytest.raises(InputError, match="found none in 1 files"):
        differential(model, tmp_path / "glass", tmp_path / "out")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields of a hospital that no classifier of these tests knows."""
    out = tmp_path_factory.mktemp("strange") / "simulated"
    simulate_fields(out, 2, SMALL_FIELDS, hospitals=("overstained",))
    return out / "overstained"


def test_a_count_of_cells_that_the_classifier_does_not_know_begins_with_a_warning(
    trained: Path, strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["hemabridge", "differential", str(trained), str(strange), str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert told.out.startswith("Do not trust this count: the cells are unlike what the model was trained on")
    assert "--crop-px" not in told.out + told.err
    html = (out / "report.html").read_text(encoding="utf-8")
    body = html[html.index("<body>") :]
    assert 0 < body.index("Do not trust this count") < body.index("leukocytes counted") < body.index("%")
    done = DifferentialResults.read(out / "differential.json")
    assert done.distrusted
    seen = done.corrected({cell.path: "neutrophil" for cell in done.counted})
    assert not seen.distrusted


@pytest.mark.slow
def test_it_is_the_restained_cells_that_are_compared_with_those_of_the_training(
    trained: Path, strange: Path, fields: Path, tmp_path: Path
) -> None:
    plain, ours = (differential(trained, folder, tmp_path / folder.name) for folder in (strange, fields))
    crops = [
        np.stack([resize_square(read_image(tmp_path / name / cell.path), 114) for cell in done.cells])
        for name, done in ((strange.name, plain), (fields.name, ours))
    ]
    normalizer = tmp_path / "linear-ot.json"
    normalizer.write_text(fit_on_cells("linear-ot", *crops).to_json(), encoding="utf-8")
    done = differential(trained, strange, tmp_path / "out", restain=normalizer)
    original, target, restained = (
        float(one.site_fact.partition("distance ")[2].split()[0]) for one in (plain, ours, done)
    )
    assert abs(restained - target) < 0.5 * abs(original - target)


def test_the_file_of_the_classifier_is_read_once(trained: Path, strange: Path, tmp_path: Path, reads: Any) -> None:
    with reads("differential"):
        differential(trained, strange, tmp_path / "out")
    assert reads.opened["differential"][find_snapshot(trained).resolve()] == 1
