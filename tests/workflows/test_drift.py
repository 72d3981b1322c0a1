import csv
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers import fit_on_cells
from hemabridge.workflows.drift import CHART, TABLE, drift

KINDS = "neutrophil", "lymphocyte"


def cells(hospital: str, seed: int, per_class: int = 12) -> UInt8Images:
    return simulate_cells(KINDS, per_class, HOSPITALS[hospital], seed, 64)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "white-point.json"
    path.write_text(fit_on_cells("white-point", cells("yellow-field", 1), cells("clinic-like", 2)).to_json())
    return path


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six nights of one hospital, whose lamp grows dim from the fourth on."""
    root = tmp_path_factory.mktemp("days")
    for day in range(1, 7):
        folder = root / f"export-2026-03-{day:02d}"
        folder.mkdir()
        dim = 1 - 0.06 * max(0, day - 3)
        for number, image in enumerate(cells("yellow-field", 10 + day, 5)):
            write_image(folder / f"{number}.png", np.rint(image * dim).astype(np.uint8))
    return root


def test_a_dimming_lamp_alarms_and_the_nights_before_do_not(model: Path, days: Path, tmp_path: Path) -> None:
    found = drift(model, [days], tmp_path / "out")
    assert [point.date for point in found.points] == [f"2026-03-0{day}" for day in range(1, 7)]
    assert [bool(point.alarm) for point in found.points[:3]] == [False] * 3
    assert found.points[-1].alarm
    assert found.alarms[0].date in ("2026-03-04", "2026-03-05", "2026-03-06")
    assert found.points[-1].answer == "out-of-distribution"
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["distance"]) for row in rows] == [point.distance for point in found.points]
    assert [float(row["score"]) for row in rows] == [point.score for point in found.points]
    picture = read_image(tmp_path / "out" / CHART)
    assert picture.std() > 5


def test_folders_are_put_in_the_order_of_time_or_left_as_given(model: Path, days: Path, tmp_path: Path) -> None:
    first, second = days / "export-2026-03-01", days / "export-2026-03-02"
    assert [p.date[-1] for p in drift(model, [second, first], tmp_path / "a").points] == ["1", "2"]
    for name, folder in (("late", second), ("early", first)):
        (tmp_path / name).symlink_to(folder)
    undated = drift(model, [tmp_path / "late", tmp_path / "early"], tmp_path / "b")
    assert [(point.folder, point.date) for point in undated.points] == [("late", ""), ("early", "")]


def test_what_cannot_be_watched_is_told(model: Path, days: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected folders of images, got"):
        drift(model, [tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "2026-13-45").mkdir()
    with pytest.raises(InputError, match="of every folder or of none, got 2026-13-45"):
        drift(model, [days / "export-2026-03-01", tmp_path / "2026-13-45"], tmp_path / "out")
    with pytest.raises(InputError, match="expected readable images"):
        drift(model, [tmp_path / "2026-13-45"], tmp_path / "out")
    few = cells("pale", 0, 2)
    (tmp_path / "few.json").write_text(fit_on_cells("white-point", few, few).to_json())
    with pytest.raises(ModelError, match="profile of its source site"):
        drift(tmp_path / "few.json", [days], tmp_path / "out")
    assert not (tmp_path / "out").exists()
