import base64
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.network import new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import ModelError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.storage.files import sha256_of
from hemabridge.training.snapshots import write_snapshot
from hemabridge.workflows.classify.classify import classify
from hemabridge.workflows.guard import learn_guard
from hemabridge.workflows.standardize.standardize import standardize

FORMATS = Path(__file__).with_name("formats")
SMALL = Preprocessing(size_px=16)
CLASSES = ("neutrophil", "lymphocyte")


class Opened:
    """Counts the files that are opened for reading, as the interpreter itself reports them (`sys.addaudithook`)."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event == "open" and isinstance(args[0], str):
            self.counts[args[0]] += 1


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()  # a hook can never be taken away again


def cells(hospital: str, seed: int = 0, size_px: int = 48) -> UInt8Images:
    return simulate_cells(CLASSES, 3, HOSPITALS[hospital], seed, size_px)[0]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, cell in enumerate(cells("yellow-field")):
        write_image(tmp_path / "in" / f"{number}.png", cell)
    return tmp_path / "in"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    for number, cell in enumerate(simulate_cells(CLASSES, 20, HOSPITALS["clinic-like"], 1, 48)[0]):
        write_image(tmp_path / "target" / f"{number:02d}.png", cell)
    return tmp_path / "target"


def stack(folder: Path) -> UInt8Images:
    return np.stack([read_image(path) for path in sorted(folder.glob("*.png"))])


@pytest.mark.parametrize("method", NORMALIZERS)
def test_every_normalizer_restains_in_python_as_on_the_command_line(method: str, images: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(fit_on_cells(method, stack(images), cells("clinic-like", 1)).to_json(), encoding="utf-8")
    standardize(path, images, tmp_path / "out")
    np.testing.assert_array_equal(open_model(path).standardize(stack(images)), stack(tmp_path / "out"))


@pytest.mark.parametrize("crop_px", [None, 20, 77])
def test_a_translator_restains_in_python_as_on_the_command_line(
    crop_px: int | None, small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    standardize(small_snapshot, images, tmp_path / "out", crop_px=crop_px)
    model = open_model(small_snapshot, crop_px=crop_px)
    np.testing.assert_array_equal(model.standardize(stack(images)), stack(tmp_path / "out"))
    raw = model.cell_standardizer().standardize(stack(images))
    assert not np.array_equal(raw, stack(tmp_path / "out"))


def test_python_replaces_what_the_guard_refuses_as_the_command_line_does(
    images: Path, target: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.json"
    path.write_text(fit_on_cells("histogram", stack(images), cells("clinic-like", 1)).to_json(), encoding="utf-8")
    guard, _ = learn_guard(path, target)
    told = json.loads(guard.read_text(encoding="utf-8"))
    told["thresholds"]["limits"]["residual"] = {"warn": 1e-9, "refuse": 1e-9}
    guard.write_text(json.dumps(told), encoding="utf-8")
    done = standardize(path, images, tmp_path / "out")
    assert {row.restained_by for row in done.rows} == {"fallback"}
    np.testing.assert_array_equal(open_model(path).standardize(stack(images)), stack(tmp_path / "out"))


def test_a_snapshot_is_opened_and_hashed_once_per_command(
    opened: Opened, small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    opened.counts.clear()
    opened.on = True
    try:
        standardize(small_snapshot, images, tmp_path / "out")
    finally:
        opened.on = False
    assert opened.counts[str(small_snapshot)] == 1
    assert opened.counts[str(images / "0.png")] >= 1  # the hook works


@pytest.mark.parametrize("kind", ["snapshot", "run folder", "onnx", "description"])
def test_a_classifier_is_opened_once_per_command(kind: str, opened: Opened, images: Path, tmp_path: Path) -> None:
    raw = {name.replace(".", "/", 1): tensor for name, tensor in new_network("test_resnet", 32, 2).state_dict().items()}
    about = ClassifierHeader(
        config=ClassifierConfig(architecture="test_resnet", size_px=32),
        preprocessing=Preprocessing(size_px=32),
        classes=CLASSES,
    )
    earlier, file = (
        write_snapshot(tmp_path / "run" / "snapshots", 8 * epoch, float(epoch), raw, None, about.as_json()).path
        for epoch in (1, 2)
    )
    path = tmp_path / "run" if kind == "run folder" else file
    if kind in ("onnx", "description"):
        earlier, file = tmp_path / "none", tmp_path / "theirs.onnx"
        file.write_bytes(base64.b64decode((FORMATS / "theirs.onnx.base64").read_text("ascii")))
        path = tmp_path / "theirs.toml"
        path.write_bytes((FORMATS / "theirs.toml").read_bytes())
    opened.counts.clear()
    opened.on = True
    try:
        model = open_model(file, classes=CLASSES, preprocessing=SMALL) if kind == "onnx" else open_model(path)
        classify(model, images, tmp_path / "out")
    finally:
        opened.on = False
    assert (opened.counts[str(file)], opened.counts[str(earlier)]) == (1, 0)
    assert model.sha256 == sha256_of(file)


def test_no_image_at_all_is_no_fault(small_snapshot: Path) -> None:
    none = np.empty((0, 8, 8, 3), np.uint8)
    assert open_model(small_snapshot).standardize(none).shape == none.shape


def test_what_a_model_cannot_do_it_says(small_snapshot: Path) -> None:
    with pytest.raises(ModelError, match="expected a model that classifies, got a translator"):
        open_model(small_snapshot).classify(cells("pale"))
    with pytest.raises(ModelError, match="expected a model that classifies, got a translator"):
        _ = open_model(small_snapshot).classes
