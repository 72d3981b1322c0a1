"""A rare-class curve of simulated cells and nets that learn in a second."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric
from pydantic import ValidationError

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import read_manifest
from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.data.synthetic import sources
from hemabridge.errors import ManifestError
from hemabridge.imaging.provenance import read_origin
from hemabridge.imaging.scale import resize_square
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
from hemabridge.recipes.learning_curve import LearningCurveRecipe
from hemabridge.storage.files import sha256_of
from hemabridge.synthesis.learning_curve import ARMS, LearningCurve
from hemabridge.training.snapshots import read_snapshot
from hemabridge.translators.config import TranslatorConfig, WatchdogConfig
from hemabridge.translators.objective_config import CycleGanConfig
from hemabridge.workflows.synthesis.learning_curve_cells import balanced, draw_cells, joined, label_of
from hemabridge.workflows.synthesis.learning_curve_stage import measure_learning_curve

CLASSES = ("neutrophil", "monocyte", "blast")
GENERATOR = TranslatorConfig(
    model=CycleGanConfig(
        generator=ResnetGeneratorConfig(channels=4, blocks=1),
        discriminator=PatchDiscriminatorConfig(channels=4, layers=1),
    ),
    load_px=36,
    crop_px=32,
    epoch_images=4,
    constant_epochs=1,
    decay_epochs=0,
    watchdog=WatchdogConfig(on_fault="ignore"),
)
RECIPE = LearningCurveRecipe(
    rare="blast",
    source="monocyte",
    real=(2, 4),
    seeds=(0,),
    arms=("nothing", "oversampled", "synthetic", "real", "usual and synthetic"),
    added=3,
    common_cells=6,
    test_cells=5,
    images=32,
    classifier=ClassifierConfig(architecture="test_resnet", size_px=32, epochs=1, learning_rate=1e-3, batch_size=8),
    generator=GENERATOR,
)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return simulate_cells(CLASSES, 16, HOSPITALS[TARGET], 0, 36)[0]


@pytest.fixture(scope="module")
def cells(drawn: np.ndarray):
    """The training part (10 of each class) and the test part (6 of each class), at any size."""
    labels = np.repeat(np.arange(3), 16)

    @cache
    def load(part: str, size_px: int) -> CellSet:
        own = [place for place in range(48) if (place % 16 < 10) == (part == "train")]
        images = np.stack([resize_square(drawn[place], size_px) for place in own])
        names = tuple(f"{place}.png" for place in own)
        hashes = tuple(f"{place:064x}" for place in own)
        return CellSet(images, labels[own], CLASSES, names, hashes, 36)

    return load


@pytest.fixture(scope="module")
def measured(cells, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LearningCurve]:
    folder = tmp_path_factory.mktemp("learning-curve")
    return folder, measure_learning_curve(
        RECIPE, cells, folder, Fabric(accelerator="cpu", devices=1), name="small", site="here"
    )


def test_every_arm_of_every_number_is_scored_on_the_same_real_cells(measured: tuple[Path, LearningCurve]) -> None:
    folder, learning_curve = measured
    assert [(row.real, row.arm, row.added) for row in learning_curve.rows] == [
        (real, arm, 3 if arm in ("synthetic", "real", "usual and synthetic") else 0)
        for real in (2, 4)
        for arm in RECIPE.arms
    ]
    assert learning_curve.test_cells == {"neutrophil": 5, "monocyte": 5, "blast": 5}
    assert learning_curve.common_cells == {"neutrophil": 6, "monocyte": 6}
    assert (learning_curve.images, learning_curve.generator_images) == (32, 4)
    asked = [json.loads(path.read_text())["ids"] for path in sorted(folder.rglob("predicted.json"))]
    assert len(asked) == 10
    assert asked == [asked[0]] * 10
    assert LearningCurve.read(folder / "learning-curve.json") == learning_curve


def test_the_scores_are_those_of_what_was_predicted(measured: tuple[Path, LearningCurve], cells) -> None:
    folder, learning_curve = measured
    truth = {name: label for name, label in zip(cells("test", 32).ids, cells("test", 32).labels, strict=True)}
    said = json.loads((folder / "seed-0/real-4/usual-and-synthetic/predicted.json").read_text())
    pairs = list(zip(said["ids"], said["predicted"], strict=True))
    blasts = [predicted == 2 for name, predicted in pairs if truth[name] == 2]
    row = learning_curve.row(4, "usual and synthetic")
    assert row is not None
    assert row.recall.value == pytest.approx(np.mean(blasts))
    assert row.balanced_accuracy.value == pytest.approx(np.mean([truth[name] == said for name, said in pairs]))


def test_the_generator_saw_only_the_real_cells_of_its_number(measured: tuple[Path, LearningCurve], cells) -> None:
    folder, _ = measured
    train = cells("train", 32)
    seen = {}
    for real in (2, 4):
        (snapshot,) = (folder / f"seed-0/real-{real}/generator/snapshots").glob("*.safetensors")
        hashes = set(read_snapshot(snapshot)[1]["seen"])
        classes = [CLASSES[train.labels[train.hashes.index(digest)]] for digest in hashes]
        assert sorted(classes) == ["blast"] * real + ["monocyte"] * 6
        seen[real] = hashes
    assert seen[2] < seen[4]


def test_synthetic_cells_carry_their_origin_and_come_from_training_cells(
    measured: tuple[Path, LearningCurve], cells
) -> None:
    folder, _ = measured
    manifest = read_manifest(folder / "seed-0/real-2/cells/manifest.csv")
    (snapshot,) = (folder / "seed-0/real-2/generator/snapshots").glob("*.safetensors")
    assert len(manifest) == 3
    assert set(manifest.column("class")) == {"blast"}
    assert set(manifest.column("split")) == {"train"}
    assert set(sources(manifest)) < set(cells("train", 32).hashes)
    for path, origin in zip(manifest.paths(), manifest.column("origin"), strict=True):
        found = read_origin(path)
        assert found is not None
        assert (found.as_text(), found.model_sha256, found.recipe) == (origin, sha256_of(snapshot), "small")


def test_no_classifier_is_kept_and_a_second_call_trains_nothing(
    measured: tuple[Path, LearningCurve], cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, learning_curve = measured
    assert [path for path in folder.rglob("*.safetensors") if "generator" not in path.parts] == []

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("trained again")

    for name in ("fine_tune", "train_translator"):
        monkeypatch.setattr(f"hemabridge.workflows.synthesis.learning_curve_stage.{name}", refuse)
    fabric = Fabric(accelerator="cpu", devices=1)
    assert measure_learning_curve(RECIPE, cells, folder, fabric, name="small", site="here") == learning_curve
    fewer = RECIPE.model_copy(update={"real": (4,)})
    with pytest.raises(AssertionError, match="trained again"):
        measure_learning_curve(
            fewer.model_copy(update={"seeds": (1,)}), cells, folder, fabric, name="small", site="here"
        )


def test_a_draw_knows_nested_cells_of_the_rare_class_and_some_of_each_other() -> None:
    labels = np.repeat([0, 1, 2], [9, 5, 7])
    draw = draw_cells(labels, rare=2, source=1, most_common=6, wanted=7, seed=3)
    assert sorted(draw.rare.tolist()) == list(range(14, 21))
    assert np.bincount(labels[draw.common]).tolist() == [6, 5]
    assert set(draw.source.tolist()) == set(range(9, 14))
    other = draw_cells(labels, rare=2, source=1, most_common=6, wanted=7, seed=4)
    assert draw.rare.tolist() != other.rare.tolist()
    with pytest.raises(ManifestError, match="expected 8 training cells of the rare class, got 7"):
        draw_cells(labels, rare=2, source=1, most_common=6, wanted=8, seed=3)


def test_a_balanced_part_has_as_many_cells_of_each_class(cells) -> None:
    part = cells("test", 32).subset([*range(6), *range(6, 10), *range(12, 18)])
    assert np.bincount(balanced(part, 5).labels).tolist() == [4, 4, 4]
    assert np.bincount(balanced(part, 2).labels).tolist() == [2, 2, 2]
    with pytest.raises(ManifestError, match="held-out cells of each"):
        balanced(part.subset(range(10)), 5)
    with pytest.raises(ManifestError, match="the class 'promyelocyte' of the recipe"):
        label_of(part, "promyelocyte")
    both = joined(part.subset([0]), part.subset([9]))
    assert both.labels.tolist() == [0, 1]
    assert both.ids == (part.ids[0], part.ids[9])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "blast"}, "a source other than the rare class"),
        ({"real": (5, 5)}, "ascending order"),
        ({"seeds": ()}, "ascending order"),
        ({"arms": ("nothing", "synthetics")}, "expected some of nothing, augmented"),
        ({"arms": ("synthetic",)}, "nothing among them"),
        ({"classifier": ClassifierConfig(size_px=64)}, "cells of one size"),
        ({"generator": {"model": {"kind": "contrastive"}, "load_px": 36, "crop_px": 32}}, "cyclegan"),
        ({"rares": 1}, "rares"),
    ],
)
def test_a_wrong_recipe_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LearningCurveRecipe.model_validate({**dict(RECIPE), **changes})


def test_the_default_recipe_tries_every_arm_at_the_numbers_of_the_question() -> None:
    recipe = LearningCurveRecipe(rare="a", source="b")
    assert recipe.arms == tuple(ARMS)
    assert (recipe.real, len(recipe.seeds)) == ((5, 10, 20, 50, 100), 3)
    assert recipe.generator_images == 1500
