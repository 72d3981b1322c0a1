from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hemabridge.imaging.files import write_image


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
    assert "3 images: 3 classified, 0 failed, 0 withheld." in ended.out
    assert "whether it fits these images is not known" in ended.out
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
    assert "4 images: 3 classified, 1 failed, 0 withheld." in ended.out


def test_a_classifier_without_class_names_is_refused_in_words(run: Callable, folder: Path) -> None:
    ended = run("classify", folder / "brightest.onnx", folder / "in", folder / "out")
    assert ended.code == 2
    assert "expected a file that hemabridge wrote, or the classes of another program's classifier" in ended.err
    assert not (folder / "out").exists()


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
