import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import TrainingFaultWarning
from hemabridge.imaging.files import read_image, write_image
from hemabridge.normalizers import fit_on_cells


@pytest.fixture
def folder(brightest: Path, tmp_path: Path) -> Path:
    """Holds an ONNX classifier that predicts the brightest channel, and images to classify."""
    for number, name in enumerate(("red", "green", "blue")):
        image = np.full((32, 32, 3), 60, np.uint8)
        image[::2, :, number] = 220
        write_image(tmp_path / "in" / f"{name}.png", image)
    assert brightest.parent == tmp_path
    return tmp_path


def test_a_folder_is_classified_by_another_programs_classifier(run: Callable, folder: Path) -> None:
    options = ("--class", "r", "--class", "g", "--class", "b")
    ended = run("classify", folder / "brightest.onnx", folder / "in", folder / "out", *options)
    assert ended.code == 0
    assert "failed" not in ended.err
    assert "3 images: 3 classified, 0 unknown, 0 failed, 0 withheld." in ended.out
    assert "it is unknown whether it fits these images" in ended.out
    found = pl.read_csv(folder / "out" / "predictions.csv")
    assert found.select("path", "predicted_class").rows() == [
        ("blue.png", "b"),
        ("green.png", "g"),
        ("red.png", "r"),
    ]


def test_a_damaged_image_is_told_and_ends_the_command_with_1(run: Callable, folder: Path) -> None:
    (folder / "in" / "bad.png").write_bytes(b"no image")
    (folder / "theirs.toml").write_text('file = "brightest.onnx"\nclasses = ["r", "g", "b"]\n', encoding="utf-8")
    ended = run("classify", folder / "theirs.toml", folder / "in", folder / "out")
    assert ended.code == 1
    assert "failed: bad.png: expected a whole JPEG" in ended.err
    assert "4 images: 3 classified, 0 unknown, 1 failed, 0 withheld." in ended.out


def test_a_classifier_that_fails_is_the_first_sentence(run: Callable, folder: Path) -> None:
    for number in range(24):
        name = ("red", "green", "blue")[number % 3]
        image = np.full((32, 32, 3), 60, np.uint8)
        image[::2, :, number % 3] = 220
        write_image(folder / "labeled" / name / f"{number}.png", image)
    options = ("--class", "green", "--class", "blue", "--class", "red")
    ended = run("classify", folder / "brightest.onnx", folder / "labeled", folder / "out", *options)
    assert ended.code == 0
    assert ended.out.startswith("brightest fails on these images: balanced accuracy 0.0%")
    assert 'channels = "bgr"' in ended.out.splitlines()[0]


def test_a_classifier_without_class_names_is_refused_in_words(run: Callable, folder: Path) -> None:
    ended = run("classify", folder / "brightest.onnx", folder / "in", folder / "out")
    assert ended.code == 2
    assert "expected a file that hemabridge wrote, or the classes of another program's classifier" in ended.err
    assert not (folder / "out").exists()


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
    assert "first alarm: 2026-03-02" in alarm.out
    assert (tmp_path / "alarm" / "drift.png").is_file()
    assert run("drift", model, tmp_path / "nowhere").code == 2


def test_standardize_says_whether_the_site_is_known(run: Callable, model: Path, nights: Path, tmp_path: Path) -> None:
    known = run("standardize", model, nights / "2026-03-01", tmp_path / "a")
    unknown = run("standardize", model, nights / "2026-03-02", tmp_path / "b")
    assert (known.code, unknown.code) == (0, 0)
    assert "in-distribution: all images together are like what the model was trained on" in known.out
    assert "out-of-distribution: all images together are unlike what the model was trained on" in unknown.err
    assert "state the crop (--crop-px; `hemabridge audit MANIFEST` proposes one)" in unknown.err
    assert "--crop-px" not in (tmp_path / "b" / "site.json").read_text(encoding="utf-8")


def test_a_training_that_looks_failed_is_told_in_one_line(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        warnings.warn("after 300 images of training: inverted", TrainingFaultWarning, stacklevel=2)
        sys.exit(0)

    monkeypatch.setattr("hemabridge.cli.app.app", failing)
    ended = run("train")
    assert ended.err == "hemabridge: warning: after 300 images of training: inverted\n"


def test_standardize_counts_gray_images_on_the_screen(run: Callable, model: Path, nights: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((nights / "2026-03-01").rglob("*.png"))[:4]):
        image = read_image(path)
        if number == 0:
            image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        write_image(tmp_path / "some" / path.name, image)
    ended = run("standardize", model, tmp_path / "some", tmp_path / "out")
    assert "warning: 1 of 4 images are gray, or nearly so" in ended.err
