"""Seeded mutations of small valid files of each kind: their readers raise an error of ours, or nothing."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

from hemabridge.classifiers.weights import read_weights
from hemabridge.data.manifest import read_manifest
from hemabridge.errors import HemabridgeError
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.guard.thresholds import floors, read_thresholds
from hemabridge.models.guard_file import Guard
from hemabridge.models.open import open_model
from hemabridge.models.selection_file import Selection, SnapshotRow
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.review import read_plan
from hemabridge.review.key import read_key, write_key
from hemabridge.review.records import Item, Question
from hemabridge.selection.readers import read_reader_scores
from hemabridge.storage.stages import DONE, Stages
from hemabridge.training.checkpoints import read_newest_checkpoint, write_checkpoint
from hemabridge.training.events import EventLog, read_events
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.attempts import RECORD, _read
from hemabridge.translators.student import FIDELITY, read_fidelities
from hemabridge.workflows.standardize.log import COLUMNS, LOG, read_log
from hemabridge.workflows.study.report_pictures import loss_curves
from hemabridge.workflows.study.restained import read_images

MUTATIONS = 60
RECIPES = Path(__file__).parents[2] / "recipes"
DEEP = "[" * 5000 + "]" * 5000
VALUES = (
    "null",
    "[]",
    "{}",
    '"x"',
    "-1",
    "1e999",
    "NaN",
    "9" * 5000,
    "9" * 400,
    "true",
    '"' + "x" * 140_000 + '"',
    DEEP,
)
"""What may stand in the place of any value of a text."""

Case: TypeAlias = tuple[Path, Callable[[], Any]]
"""A valid file, and what reads it."""


def stage(folder: Path) -> Case:
    stages = Stages(folder)
    path = stages.run("one", {"a": 1}, lambda _: None) / DONE
    return path, lambda: (stages.seconds(), stages.key("one"), stages.run("one", {"a": 1}, lambda _: None))


def events(folder: Path) -> Case:
    log = EventLog(folder / "events.jsonl")
    for images in (10, 20):
        log.append("step", images, losses={"g": 0.5, "d": 0.25})
        log.append("watch", images, faults=["idle"], persisting=[])
    return log.path, lambda: (read_events(log.path, "watch"), loss_curves(log.path), log.rewind(10))


def selection(folder: Path) -> Case:
    pair = (0.5, 0.9)
    row = SnapshotRow("a", "", 1, 0.7, pair, 0.7, {}, {}, 0.1, pair, 0.8, 0.1, pair, 0.9, pair, fit=True, won=1.0)
    (folder / "selection.json").write_text(Selection("r", "a", (), "best", row, (row,), (0.0, pair)).to_json())
    return folder / "selection.json", lambda: Selection.read(folder / "selection.json")


def normalizer(folder: Path) -> Case:
    path = folder / "normalizer.json"
    images = np.full((2, 8, 8, 3), 200, dtype=np.uint8)
    path.write_text(WhitePoint.fit(images, images).to_json())
    return path, lambda: open_model(path)


def thresholds(folder: Path) -> Case:
    (folder / "thresholds.json").write_text(floors().to_json())
    return folder / "thresholds.json", lambda: read_thresholds(folder / "thresholds.json")


def guard(folder: Path) -> Case:
    Guard(model="0" * 64, thresholds=floors()).write(folder / "guard.json")
    return folder / "guard.json", lambda: Guard.read(folder / "guard.json")


def key(folder: Path) -> Case:
    item = Item("item-one", Question.STAIN, "screen-one", ("epoch-0010",), "0" * 64, "neutrophil", "clinic")
    write_key(folder / "key.json", [item])
    return folder / "key.json", lambda: read_key(folder / "key.json")


def attempts(folder: Path) -> Case:
    (folder / RECORD).write_text(json.dumps({"stopped": [{"seed": 1, "reason": "idle"}], "finished": False}))
    return folder / RECORD, lambda: _read(folder / RECORD)


def fidelity(folder: Path) -> Case:
    numbers = {"cells": 2, "psnr_db": 30.0, "delta_e_2000": 1.5, "change_delta_e_2000": 9.0}
    (folder / FIDELITY).write_text(json.dumps({"epoch-0001": numbers}))
    return folder / FIDELITY, lambda: read_fidelities(folder)


def recipe(folder: Path) -> Case:
    path = folder / "recipe.toml"
    path.write_bytes((RECIPES / "recommended.toml").read_bytes())
    return path, lambda: read_recipe(path)


def plan(folder: Path) -> Case:
    path = folder / "review.toml"
    path.write_bytes((RECIPES / "review-demo.toml").read_bytes())
    return path, lambda: read_plan(path)


def manifest(folder: Path) -> Case:
    (folder / "a.png").touch()
    path = folder / "manifest.csv"
    path.write_text("path,site,class,crop_px\na.png,here,blast,20\n")
    return path, lambda: read_manifest(path)


def reader_scores(folder: Path) -> Case:
    path = folder / "readers.csv"
    path.write_text("snapshot,accepted\na,0.5\nb,1\n")
    return path, lambda: read_reader_scores(path, ("a", "b"))


def predictions(folder: Path) -> Case:
    path = folder / "predictions.csv"
    fields: dict[str, Any] = {"snapshot": None, "labels_used": 0, "ids": ("a.png", "b.png")}
    shares = np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32)
    run = Predictions("here", "test", "net", "original", **fields, truth=np.array([0, 1]), probabilities=shares)
    write_predictions([run], ("x", "y"), path)
    return path, lambda: read_predictions(path)


def log(folder: Path) -> Case:
    (folder / "a.png").touch()
    path = folder / LOG
    path.write_text(",".join(COLUMNS) + "\na.png,restained,,0,0,pass,,model,0,\nb.png,failed,why,,,,,,,\n")
    return path, lambda: read_log(folder)


def images(folder: Path) -> Case:
    path = folder / "test.npy"
    np.save(path, np.zeros((2, 4, 4, 3), dtype=np.uint8))
    return path, lambda: read_images(path, 2)


def checkpoint(folder: Path) -> Case:
    path = write_checkpoint(folder, 10, {"engine/w": torch.zeros(3)}, {"identity": {"seed": 1}})
    return path, lambda: (read_weights(path), read_newest_checkpoint(folder))


def snapshot(folder: Path, small_snapshot: Path) -> Case:
    (folder / "snapshots").mkdir()
    path = folder / "snapshots" / small_snapshot.name
    path.write_bytes(small_snapshot.read_bytes())
    return path, lambda: (list_snapshots(folder), open_model(path).cell_standardizer())


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a content cut short, with bytes changed, removed or doubled, or with another value in it."""
    at, end = sorted(int(place) for place in rng.integers(0, len(content) + 1, 2))
    match rng.integers(6):
        case 0:
            return content[:at]
        case 1:
            flipped = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 4)):
                flipped[place] ^= int(rng.integers(1, 256))
            return bytes(flipped)
        case 2:
            return content[:at] + content[min(end, at + 30) :]
        case 3:
            return content[:end] + content[at:]
        case 4:
            return str(rng.choice(VALUES)).encode()
        case _:
            return swapped(content, str(rng.choice(VALUES)).encode(), rng)


def swapped(content: bytes, value: bytes, rng: np.random.Generator) -> bytes:
    """Put a value in the place of what follows one of the colons, equal signs or commas."""
    places = [place + 1 for place, mark in enumerate(content) if mark in b":=,"]
    if not places:
        return value + content
    start = int(rng.choice(places))
    end = next((place for place in range(start, len(content)) if content[place] in b",}]\n"), len(content))
    return content[:start] + value + content[end:]


CASES = (
    stage,
    events,
    selection,
    normalizer,
    thresholds,
    guard,
    key,
    attempts,
    fidelity,
    recipe,
    plan,
    manifest,
    reader_scores,
    predictions,
    log,
    images,
    checkpoint,
)


@pytest.mark.parametrize("case", CASES)
def test_any_damage_is_told_in_our_own_words(case: Callable[[Path], Case], tmp_path: Path) -> None:
    raised = raised_by_damage(*case(tmp_path), case.__name__)
    assert [repr(error)[:300] for error in raised if not isinstance(error, HemabridgeError)] == []
    assert raised or case in (stage, log)  # a damaged record has the stage done again; a damaged row, the picture


def test_any_damage_of_a_snapshot_is_told_in_our_own_words(small_snapshot: Path, tmp_path: Path) -> None:
    raised = raised_by_damage(*snapshot(tmp_path, small_snapshot), "snapshot")
    assert [repr(error)[:300] for error in raised if not isinstance(error, HemabridgeError)] == []
    assert raised


def raised_by_damage(path: Path, read: Callable[[], Any], name: str) -> list[Exception]:
    """Return what a reader raises of many mutations of its file; as it is, it must read it."""
    whole = path.read_bytes()
    read()
    path.write_bytes(whole)
    rng = np.random.default_rng(list(name.encode()))
    raised = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, rng))
        with pytest.raises((Exception, _Taken)) as caught, warnings.catch_warnings():  # noqa: PT012
            warnings.simplefilter("ignore")
            read()
            raise _Taken
        if not isinstance(caught.value, _Taken):
            raised.append(caught.value)
    return raised


class _Taken(BaseException):
    """A reader took a mutated file."""
