import dataclasses
import json
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import RANGE_TEST_FILE, fine_tune
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError, Interrupted, ModelError, RunError
from hemabridge.models import open_model
from hemabridge.progress import Progress
from hemabridge.storage.files import sha256_of
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.events import read_events
from hemabridge.training.tensorfile import read_header

CONFIG = ClassifierConfig(
    architecture="test_efficientnet", size_px=32, epochs=4, batch_size=8, learning_rate=3e-3, shift_px=1
)
MakeCells = Callable[..., CellSet]


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    found = read_newest_checkpoint(folder / "state")
    assert found is not None
    return found[0]


def interrupt_after(images: int) -> Progress:
    def listen(label: str, done: int, _total: int) -> None:
        if label == "training" and done == images:
            os.kill(os.getpid(), signal.SIGINT)

    return listen


def accuracy(snapshot: Path, cells: CellSet) -> float:
    probabilities = open_model(snapshot).classifier.probabilities(cells.images)
    return float((probabilities.argmax(axis=1) == cells.labels).mean())


def resumable(rate: float | None) -> ClassifierConfig:
    return CONFIG.model_copy(update={"epochs": 3, "frozen_epochs": 1, "learning_rate": rate})


@pytest.fixture(scope="module")
def uncut(
    easy_cells: MakeCells, cpu: Fabric, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[float | None], tuple[Path, Path]]:
    """Train at a learning rate without a cut, once; return the folder and the snapshot."""

    @cache
    def trained(rate: float | None) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("uncut")
        return folder, fine_tune(resumable(rate), easy_cells(24), folder, cpu, seed=5)

    return trained


@pytest.mark.parametrize(("images", "rate"), [(8, 3e-3), (24, 3e-3), pytest.param(56, None, marks=pytest.mark.slow)])
def test_a_cut_run_that_is_resumed_equals_an_uncut_one_to_the_bit(
    tmp_path: Path,
    easy_cells: MakeCells,
    cpu: Fabric,
    uncut: Callable[[float | None], tuple[Path, Path]],
    images: int,
    rate: float | None,
) -> None:
    config, cells = resumable(rate), easy_cells(24)
    folder, whole = uncut(rate)
    with pytest.raises(Interrupted):
        fine_tune(config, cells, tmp_path / "cut", cpu, seed=5, progress=interrupt_after(images))
    labels = []
    cut = fine_tune(config, cells, tmp_path / "cut", cpu, seed=5, progress=lambda label, *_: labels.append(label))

    assert set(labels) == {"training"}  # the range test's answer is kept
    assert read_header(cut) == read_header(whole)
    one, other = final_state(folder), final_state(tmp_path / "cut")
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_an_easy_problem_is_learned_and_validated(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    unseen = easy_cells(40, seed=1)
    snapshot = fine_tune(
        CONFIG.model_copy(update={"epochs": 8}), easy_cells(96), tmp_path, cpu, seed=0, validation=unseen
    )
    assert accuracy(snapshot, unseen) >= 0.95
    (event,) = read_events(tmp_path / "events.jsonl", "validation")
    assert event["n"] == 40
    assert event["balanced_accuracy"] == pytest.approx(accuracy(snapshot, unseen))  # both classes have 20 cells


@pytest.mark.slow
def test_shuffled_labels_give_chance(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    cells, unseen = easy_cells(96), easy_cells(200, seed=1)
    shuffled = dataclasses.replace(cells, labels=np.random.default_rng(0).permutation(cells.labels))
    snapshot = fine_tune(CONFIG.model_copy(update={"epochs": 8}), shuffled, tmp_path, cpu, seed=0)
    assert 0.25 <= accuracy(snapshot, unseen) <= 0.75


def test_the_snapshot_says_what_it_is_and_what_it_saw(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    cells = easy_cells(24)
    header = read_header(fine_tune(CONFIG.model_copy(update={"epochs": 1}), cells, tmp_path, cpu, seed=2))
    assert header["kind"] == "classifier"
    assert header["classes"] == ["dark", "bright"]
    assert header["seen"] == sorted(cells.hashes)
    assert header["preprocessing"]["size_px"] == 32
    assert (header["learning_rate"], header["seed"], header["crop_px"]) == (3e-3, 2, 32)
    assert header["weights_sha256"] is None
    profiles = ClassifierHeader.of(header, tmp_path).profiles
    assert [(profile.crop_px, len(profile.cells)) for profile in profiles] == [(32, len(cells))]
    assert (header["format"], header["cell_px"]) == (1, cells.images.shape[1])


def test_training_goes_on_from_a_snapshot(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    cells = easy_cells(16)
    first = fine_tune(CONFIG.model_copy(update={"epochs": 1}), cells, tmp_path / "first", cpu, seed=0)
    barely = CONFIG.model_copy(update={"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "size_px": 64})
    second = fine_tune(barely, cells, tmp_path / "second", cpu, seed=1, start=open_model(first).classifier)
    one, other = (open_model(path).classifier for path in (first, second))
    torch.testing.assert_close(other.network.head.weight, one.network.head.weight, atol=1e-8, rtol=0)
    assert other.preprocessing == one.preprocessing  # of the start, not of the new configuration
    assert read_header(second)["weights_sha256"] == sha256_of(first)


def test_a_start_of_another_model_or_other_classes_is_refused(
    tmp_path: Path, easy_cells: MakeCells, cpu: Fabric
) -> None:
    cells = easy_cells(16)
    first = fine_tune(CONFIG.model_copy(update={"epochs": 1}), cells, tmp_path / "first", cpu, seed=0)
    other_classes = dataclasses.replace(cells, classes=("bright", "dark"))
    with pytest.raises(
        ModelError, match=r"expected test_efficientnet of bright, dark to start from, got .* of dark, br"
    ):
        fine_tune(CONFIG, other_classes, tmp_path / "a", cpu, seed=0, start=open_model(first).classifier)
    other_model = CONFIG.model_copy(update={"architecture": "test_resnet"})
    with pytest.raises(ModelError, match="expected test_resnet of"):
        fine_tune(other_model, cells, tmp_path / "b", cpu, seed=0, start=open_model(first).classifier)


def test_the_range_test_is_done_anew_for_other_cells(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    config = CONFIG.model_copy(update={"epochs": 1, "learning_rate": None})
    fine_tune(config, easy_cells(16), tmp_path, cpu, seed=0)
    kept = json.loads((tmp_path / RANGE_TEST_FILE).read_text())
    assert len(kept["rates"]) == len(kept["losses"]) >= 10
    with pytest.raises(RunError, match="cells_sha256 changed"):
        fine_tune(config, easy_cells(16, seed=1), tmp_path, cpu, seed=0)
    assert json.loads((tmp_path / RANGE_TEST_FILE).read_text())["identity"] != kept["identity"]


def test_cells_without_a_class_and_classes_without_a_cell_are_refused(
    tmp_path: Path, easy_cells: MakeCells, cpu: Fabric
) -> None:
    cells = easy_cells(16)
    unknown = np.where(np.arange(16) == 3, -1, cells.labels)
    with pytest.raises(InputError, match="got 1 cells without"):
        fine_tune(CONFIG, dataclasses.replace(cells, labels=unknown), tmp_path, cpu, seed=0)
    with pytest.raises(InputError, match=r"got \{'dark': 16, 'bright': 0\}"):
        fine_tune(CONFIG, dataclasses.replace(cells, labels=np.zeros(16, np.int64)), tmp_path, cpu, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_trainings_of_one_length_on_sets_of_several_sizes(tmp_path: Path, easy_cells: MakeCells, cpu: Fabric) -> None:
    config = CONFIG.model_copy(update={"epochs": 2, "epoch_images": 16})
    snapshots = [fine_tune(config, easy_cells(count), tmp_path / str(count), cpu, seed=0) for count in (8, 20)]
    assert [read_header(snapshot)["images"] for snapshot in snapshots] == [32, 32]
