import csv
import shutil
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


@pytest.mark.parametrize(
    ("names", "dates", "guess"),
    [
        (["31.03.2026", "01.04.2026", "02.04.2026"], ["2026-03-31", "2026-04-01", "2026-04-02"], ""),
        (["05.04.2026", "04.05.2026"], ["2026-04-05", "2026-05-04"], " can be read day first or month first"),
    ],
)
def test_dates_with_the_day_first_are_put_in_order(
    model: Path, days: Path, tmp_path: Path, names: list[str], dates: list[str], guess: str
) -> None:
    for number, name in enumerate(names, 1):
        shutil.copytree(days / f"export-2026-03-0{number}", tmp_path / "all" / name)
    found = drift(model, [tmp_path / "all"], tmp_path / "out")
    assert [point.date for point in found.points] == dates
    assert sorted(point.folder for point in found.points) == sorted(names)
    assert guess in found.guess
    assert bool(found.guess) == bool(guess)


def test_no_folder_and_no_image_is_dropped_in_silence(model: Path, days: Path, tmp_path: Path) -> None:
    for number, name in ((1, "2026-03-01"), (2, "2026-03-32")):
        shutil.copytree(days / f"export-2026-03-0{number}", tmp_path / "all" / name)
    with pytest.raises(InputError, match="got 2026-03-32"):
        drift(model, [tmp_path / "all"], tmp_path / "out")
    (tmp_path / "all" / "2026-03-32").rename(tmp_path / "all" / "spring")
    with pytest.raises(InputError, match="got spring"):
        drift(model, [tmp_path / "all"], tmp_path / "out")
    (tmp_path / "all" / "spring").rename(tmp_path / "all" / "_spring")
    assert [point.date for point in drift(model, [tmp_path / "all"], tmp_path / "out").points] == ["2026-03-01"]
    shutil.copy(days / "export-2026-03-01" / "0.png", tmp_path / "all" / "loose.png")
    with pytest.raises(InputError, match=r"got 1 beside them, such as loose\.png"):
        drift(model, [tmp_path / "all"], tmp_path / "out")


def test_masks_and_hidden_files_are_not_measured(model: Path, days: Path, tmp_path: Path) -> None:
    day = shutil.copytree(days / "export-2026-03-01", tmp_path / "2026-03-01")
    (day / "_masks").mkdir()
    for name in ("._0.png", "_masks/0.png"):
        write_image(day / name, np.zeros((64, 64, 3), np.uint8))
    plain = drift(model, [days / "export-2026-03-01"], tmp_path / "a").points[0]
    point = drift(model, [day], tmp_path / "b").points[0]
    assert (point.images, point.distance) == (plain.images, plain.distance)


def test_what_cannot_be_watched_is_told(model: Path, days: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected folders of images, got"):
        drift(model, [tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "2026-13-45").mkdir()
    with pytest.raises(InputError, match="of every folder or of none, got 2026-13-45"):
        drift(model, [days / "export-2026-03-01", tmp_path / "2026-13-45"], tmp_path / "out")
    with pytest.raises(InputError, match="of every folder or of none, got 2026-13-45"):
        drift(model, [tmp_path / "2026-13-45"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected readable images"):
        drift(model, [tmp_path / "empty"], tmp_path / "out")
    few = cells("pale", 0, 2)
    (tmp_path / "few.json").write_text(fit_on_cells("white-point", few, few).to_json())
    with pytest.raises(ModelError, match="profile of its source site"):
        drift(tmp_path / "few.json", [days], tmp_path / "out")
    assert not (tmp_path / "out").exists()
