from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import RecipeError
from hemabridge.evaluation.results import StudyResults
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.study.study import study

LEARNER = '{name = "Learner", train = {architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}}'
SHAPE = LEARNER.replace("Learner", "Shape").replace("epochs = 1", 'epochs = 1, view = "shape"')
TRAIN = LEARNER[LEARNER.index("{arch") : -1]
CHANGES = (
    "source_fine_tuning=false",
    "guard=false",
    "audit=false",
    "normalizers=[]",
    "tested_epochs=[2]",
    f"classifiers=[{LEARNER}, {SHAPE}]",
    'ensemble={restainings = ["linear-ot"], min_confidence = 0.0, '
    "few_labels = [6], learned_lut = {images = 24}, semi_supervised = {images = 16, batch_size = 8}, "
    f"members = [{{count = 1, train = {TRAIN}}}]}}",
)


def run(recipe: Path, out: Path, *changes: str) -> tuple[StudyResults, list[str]]:
    labels: list[str] = []
    spec = expect_kind(read_recipe(recipe, changes), StudyRecipe)
    results = study(spec, out, fabric=start_fabric("cpu"), progress=lambda label, done, total: labels.append(label))
    return results, labels


@pytest.mark.slow
def test_the_ensemble_stands_beside_the_classifiers_and_is_not_fitted_again(small_study: Path, tmp_path: Path) -> None:
    first, _ = run(small_study, tmp_path / "out", *CHANGES)
    rows = [(r.site, r.images, r.labels_used, r.mode) for r in first.rows if r.classifier == "ensemble"]
    source, target = str(first.facts["source site"]), str(first.facts["target site"])
    assert rows == [
        (target, "original", 0, "none"),
        (source, "original", 0, "none"),
        (source, "ensemble", 0, "strict"),
        (source, "original", 6, "none"),
        (source, "ensemble", 6, "strict"),
    ]
    paired = [(p.images, p.labels_used) for p in first.paired if p.classifier == "ensemble"]
    assert paired == [("ensemble", 0), ("ensemble", 6)]
    ensemble = tmp_path / "out" / "ensemble"
    assert (ensemble / "linear-ot.json").is_file()
    assert first.facts["ensemble: re-stainings"] == "linear-ot, translator"
    # A classifier that sees shape alone has no color table.
    with_luts = [(r.classifier, r.mode) for r in first.rows if r.images == "learned-lut"]
    assert with_luts == [("Learner", "strict")]
    assert (
        normalizer_from_json((ensemble / "learned-lut-learner.json").read_text(encoding="utf-8"))
        .standardize(np.zeros((1, 8, 8, 3), np.uint8))
        .any()
    )
    # A color and a shape member of the study, one that is trained for the ensemble.
    assert list_snapshots(ensemble / "members" / "0" / "0")
    assert all(list_snapshots(ensemble / "labels-6" / str(place)) for place in range(3))
    assert list(ensemble.rglob("state")) == []
    again, labels = run(small_study, tmp_path / "out", *CHANGES)
    assert again.rows == first.rows
    assert "fitting re-stainings" not in labels


@pytest.mark.parametrize(
    "bad",
    [
        'restainings=["linear-oat"]',
        "few_labels=[0]",
        "min_confidence=1.0",
        "adabn_rounds=-1",
    ],
)
def test_settings_out_of_range_are_refused(small_study: Path, bad: str) -> None:
    with pytest.raises(RecipeError, match=bad.partition("=")[0]):
        read_recipe(small_study, [f"ensemble.{bad}"])
