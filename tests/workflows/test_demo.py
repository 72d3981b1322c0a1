import shutil
from pathlib import Path
from typing import Any

import pytest

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.data.manifest import read_manifest
from hemabridge.recipes.recipe import ClassifierRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows import demo as module
from hemabridge.workflows.demo import demo, demo_recipe
from hemabridge.workflows.simulate.simulate import TRUTH

SMALL: dict[str, Any] = {
    "load_px": 36,
    "crop_px": 32,
    "epoch_images": 3,
    "constant_epochs": 1,
    "decay_epochs": 1,
    "snapshot_every_epochs": 1,
    "average_half_life_images": None,
    "model": {"generator": {"channels": 4, "blocks": 1}, "discriminator": {"channels": 4, "layers": 1}},
}


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a demo."""


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the demo as short as a test can be: fewer and smaller cells, smaller nets."""

    def small_recipe(target: Path, source: Path) -> StudyRecipe:
        full = demo_recipe(target, source)
        net = ClassifierConfig(architecture="test_resnet", size_px=32, epochs=1, learning_rate=1e-3)
        changes = {
            "translator": SMALL,
            "tested_epochs": (2,),
            "classifiers": (ClassifierRecipe(name="Small", train=net),),
            "source_fine_tuning": None,
            "normalizers": (),
        }
        return StudyRecipe.model_validate({**dict(full), **changes})

    monkeypatch.setattr(module, "SIZE_PX", 32)
    monkeypatch.setattr(module, "SETS", {name: {**size, "n_per_class": 10} for name, size in module.SETS.items()})
    monkeypatch.setattr(module, "demo_recipe", small_recipe)


def test_the_demo_tells_of_two_hospitals_whose_truth_is_known(tmp_path: Path) -> None:
    recipe = demo_recipe(tmp_path / "target", tmp_path / "source")
    assert (recipe.target.site, recipe.source.site, recipe.mode) == ("clinic-like", "yellow-field", "strict")
    assert recipe.truth is not None
    assert recipe.truth.manifest == tmp_path / "source" / TRUTH / "manifest.csv"
    assert len(recipe.tested_epochs) >= 3
    assert [spec.train.loss for spec in recipe.classifiers if spec.train] == ["cross_entropy", "focal"]


@pytest.mark.slow
def test_the_demo_runs_from_nothing_and_goes_on_where_it_stopped(
    tmp_path: Path, small_demo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(label: str, done: int, _total: int) -> None:
        if label == "simulating yellow-field" and done == 30:
            raise CutError

    out = tmp_path / "demo"
    with pytest.raises(CutError):
        demo(out, fabric=start_fabric("cpu"), progress=cut)
    kept = sorted((out / "simulated" / "clinic-like").rglob("*.png"))
    before = {path: path.stat().st_mtime_ns for path in kept}

    results = demo(out, fabric=start_fabric("cpu"))

    assert {path: path.stat().st_mtime_ns for path in kept} == before
    cells = out / "simulated" / "yellow-field" / "cells"
    source, truth = (read_manifest(cells / name / "manifest.csv") for name in ("yellow-field", TRUTH))
    assert source.column("path") == truth.column("path")
    target = read_manifest(out / "simulated" / "clinic-like" / "cells" / "clinic-like" / "manifest.csv")
    assert set(source.column("path")).isdisjoint(target.column("path"))  # each hospital has cells of its own
    assert [c.images for c in results.closeness] == ["original", "cyclegan"]
    assert {row.mode for row in results.rows if row.images == "cyclegan"} == {"strict"}
    assert (out / "report.html").is_file()
    assert expect_kind(read_recipe(out / "recipe.toml"), StudyRecipe).name == "demo"

    labels: list[str] = []
    shutil.rmtree(out / "restained")
    assert demo(out, fabric=start_fabric("cpu"), progress=lambda label, *_: labels.append(label)).rows == results.rows
    assert [label for label in labels if "simulating" in label or "training" in label] == []
