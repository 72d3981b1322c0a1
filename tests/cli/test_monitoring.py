import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import TrainingFaultWarning
from hemabridge.imaging.files import write_image
from hemabridge.normalizers import fit_on_cells


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    one, other = (
        simulate_cells(("neutrophil",), 20, HOSPITALS[name], 1, 48)[0] for name in ("yellow-field", "clinic-like")
    )
    path = tmp_path_factory.mktemp("model") / "white-point.json"
    path.write_text(fit_on_cells("white-point", one, other).to_json())
    return path


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    for day, dim in ((1, 1.0), (2, 0.5)):
        for number, image in enumerate(simulate_cells(("neutrophil",), 8, HOSPITALS["yellow-field"], 5 + day, 48)[0]):
            folder = tmp_path / "nights" / f"2026-03-0{day}"
            folder.mkdir(parents=True, exist_ok=True)
            write_image(folder / f"{number}.png", (image * dim).astype(np.uint8))
    return tmp_path / "nights"


def test_drift_exits_with_1_on_alarm_and_with_0_without(
    run: Callable, model: Path, nights: Path, tmp_path: Path
) -> None:
    calm = run("drift", model, nights / "2026-03-01", "--out", tmp_path / "calm")
    assert (calm.code, "No drift over 1 folders" in calm.out) == (0, True)
    alarm = run("drift", model, nights, "--out", tmp_path / "alarm")
    assert alarm.code == 1
    assert "ALARM (shewhart" in alarm.out
    assert "first seen in 2026-03-02" in alarm.out
    assert (tmp_path / "alarm" / "drift.png").is_file()
    assert run("drift", model, tmp_path / "nowhere").code == 2


def test_standardize_says_whether_the_site_is_known(run: Callable, model: Path, nights: Path, tmp_path: Path) -> None:
    known = run("standardize", model, nights / "2026-03-01", tmp_path / "a")
    unknown = run("standardize", model, nights / "2026-03-02", tmp_path / "b")
    assert (known.code, unknown.code) == (0, 0)
    assert "in-distribution: like what the model was trained on" in known.out
    assert "out-of-distribution: unlike what the model was trained on" in unknown.err


def test_a_training_that_looks_failed_is_told_in_one_line(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        warnings.warn("after 300 images of training: inverted", TrainingFaultWarning, stacklevel=2)
        sys.exit(0)

    monkeypatch.setattr("hemabridge.cli.app.app", failing)
    ended = run("train")
    assert ended.err == "hemabridge: warning: after 300 images of training: inverted\n"
