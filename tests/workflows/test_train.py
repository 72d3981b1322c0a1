import json
from pathlib import Path

import pytest
import torch

from hemabridge.errors import RunError
from hemabridge.models import open_model
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.trainings import ClassifierTrainingRecipe, TranslatorRecipe
from hemabridge.training.events import read_events
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import Snapshot, read_snapshot
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.workflows.train import train

TRANSLATOR = """
kind = "translator"
name = "small"
[source]
site = "yellow-field"
manifest = "{hospitals}/yellow-field/manifest.csv"
[target]
site = "clinic-like"
folder = "{hospitals}/clinic-like"
crop_px = 32
[translator]
load_px = 36
crop_px = 32
epoch_images = 4
constant_epochs = 1
decay_epochs = 1
snapshot_every_epochs = 1
model = {{ generator = {{ channels = 4, blocks = 1 }}, discriminator = {{ channels = 4, layers = 1 }} }}
"""

CLASSIFIER = """
kind = "classifier"
name = "small"
size_px = 32
parts = {{ train = 0.5, test = 0.5 }}
[site]
site = "clinic-like"
manifest = "{hospitals}/clinic-like/manifest.csv"
[classifier]
architecture = "test_resnet"
size_px = 32
epochs = 2
learning_rate = 1e-3
batch_size = 6
"""


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


@pytest.fixture
def translator(hospitals: Path, tmp_path: Path) -> TranslatorRecipe:
    (tmp_path / "t.toml").write_text(TRANSLATOR.format(hospitals=hospitals))
    return expect_kind(read_recipe(tmp_path / "t.toml"), TranslatorRecipe)


@pytest.fixture
def classifier(hospitals: Path, tmp_path: Path) -> ClassifierTrainingRecipe:
    (tmp_path / "c.toml").write_text(CLASSIFIER.format(hospitals=hospitals))
    return expect_kind(read_recipe(tmp_path / "c.toml"), ClassifierTrainingRecipe)


def weights(snapshots: list[Snapshot]) -> dict[str, torch.Tensor]:
    return {f"{s.name}/{key}": tensor for s in snapshots for key, tensor in read_snapshot(s.path)[0].items()}


def cut_at(images: int) -> object:
    def cut(label: str, done: int, _total: int) -> None:
        if label == "training" and done == images:
            raise CutError

    return cut


def test_a_translator_is_trained_and_can_be_used_alone(translator: TranslatorRecipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    snapshots = train(translator, out, fabric=start_fabric("cpu"))
    assert [(s.name, s.images) for s in snapshots] == [("epoch-0001", 4), ("epoch-0002", 8)]
    header = read_header(snapshots[-1].path)
    assert (header["source_crop_px"], header["target_crop_px"], len(header["seen"])) == (32, 32, 48)
    assert isinstance(open_model(snapshots[-1].path).cell_standardizer(), NeuralStandardizer)
    assert read_recipe(out / "recipe.toml") == translator
    assert json.loads((out / "run.json").read_text())["device"] == "cpu"
    assert [event["images"] for event in read_events(out / "events.jsonl", "snapshot")] == [4, 8]
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["epoch-0001.png", "epoch-0002.png"]


def test_a_classifier_is_trained_on_the_training_part(classifier: ClassifierTrainingRecipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    snapshots = train(classifier, out, fabric=start_fabric("cpu"))
    found = open_model(snapshots[-1].path).classifier
    assert found.classes == ("lymphocyte", "neutrophil")
    lines = (out / "split" / "clinic-like" / "manifest.csv").read_text().splitlines()
    training = {line.split(",")[6] for line in lines[1:] if ",train," in line}
    assert set(read_header(snapshots[-1].path)["seen"]) == training
    assert len(training) == 12
    assert read_recipe(out / "recipe.toml") == classifier


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_a_second_call_does_nothing_again(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recipe, out = request.getfixturevalue(kind), tmp_path / "run"
    first = train(recipe, out, fabric=start_fabric("cpu"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    calls: list[str] = []
    again = train(recipe, out, fabric=start_fabric("cpu"), progress=lambda label, *_: calls.append(label))
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    assert "training" not in calls


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "images"), [("translator", 5), ("classifier", 12)])
def test_a_cut_run_ends_as_an_uncut_one(kind: str, images: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recipe = request.getfixturevalue(kind)
    with pytest.raises(CutError):
        train(recipe, tmp_path / "cut", fabric=start_fabric("cpu"), progress=cut_at(images))  # type: ignore[arg-type]
    cut = weights(train(recipe, tmp_path / "cut", fabric=start_fabric("cpu")))
    whole = weights(train(recipe, tmp_path / "whole", fabric=start_fabric("cpu")))
    assert cut.keys() == whole.keys()
    assert [name for name in whole if not torch.equal(cut[name], whole[name])] == []


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_a_run_of_another_recipe_is_refused_and_left_as_it_is(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    recipe, out = request.getfixturevalue(kind), tmp_path / "run"
    train(recipe, out, fabric=start_fabric("cpu"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "split" not in path.parts}
    with pytest.raises(RunError, match="seed changed"):
        train(recipe.model_copy(update={"seed": 1}), out, fabric=start_fabric("cpu"))
    assert {path: path.read_bytes() for path in before} == before
    assert read_recipe(out / "recipe.toml") == recipe


def test_snapshots_are_told_oldest_first(translator: TranslatorRecipe, tmp_path: Path) -> None:
    config = translator.translator.model_copy(update={"snapshot_images": (3, 6)})
    snapshots = train(
        translator.model_copy(update={"translator": config}), tmp_path / "run", fabric=start_fabric("cpu")
    )
    assert [s.name for s in snapshots] == ["images-00000003", "epoch-0001", "images-00000006", "epoch-0002"]
    assert [s.images for s in snapshots] == [3, 4, 6, 8]
