from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import RecipeError
from hemabridge.evaluation.results import StudyResults
from hemabridge.normalizers.catalog import read_normalizer
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.devices import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.study.study import study

LEARNER = '{name = "Learner", train = {architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}}'
SHAPE = LEARNER.replace("Learner", "Shape").replace("epochs = 1", 'epochs = 1, view = "shape"')
TRAIN = LEARNER[LEARNER.index("{arch") : -1]
CHANGES = (
    "again=false",
    "normalizers=[]",
    "tested_epochs=[2]",
    f"classifiers=[{LEARNER}, {SHAPE}]",
    'agreement={restainings = ["linear-ot"], mixing_rounds = 1, self_training_rounds = 1, sure = 0.0, '
    "few_labels = [6], taught_table = {images = 24}, both_sites = {images = 16, batch_size = 8}, "
    f"members = [{{count = 1, train = {TRAIN}}}], source_looks = {{classifiers = 1, copies = 1, train = {TRAIN}}}}}",
)


def run(recipe: Path, out: Path, *changes: str) -> tuple[StudyResults, list[str]]:
    labels: list[str] = []
    wish = expect_kind(read_recipe(recipe, changes), StudyRecipe)
    results = study(wish, out, fabric=start_fabric("cpu"), progress=lambda label, done, total: labels.append(label))
    return results, labels


def test_agreeing_answers_stand_beside_the_others_and_are_not_worked_out_again(
    small_study: Path, tmp_path: Path
) -> None:
    first, _ = run(small_study, tmp_path / "out", *CHANGES)
    rows = [(r.site, r.images, r.labels_used, r.mode) for r in first.rows if r.classifier == "agreement"]
    source, target = str(first.facts["source site"]), str(first.facts["target site"])
    assert rows == [
        (target, "original", 0, "none"),
        (source, "original", 0, "none"),
        (source, "agreement", 0, "strict"),
        (source, "agreement, self-training 1", 0, "strict"),
        (source, "original", 6, "none"),
        (source, "agreement", 6, "strict"),
    ]
    paired = [(p.images, p.labels_used) for p in first.paired if p.classifier == "agreement"]
    assert paired == [("agreement", 0), ("agreement, self-training 1", 0), ("agreement", 6)]
    agreement = tmp_path / "out" / "agreement"
    assert (agreement / "linear-ot.json").is_file()
    tried = first.facts["agreement: accord of re-stainings with shape"]
    assert {word.rpartition(" ")[0] for word in tried.split(", ")} == {"linear-ot", "translator"}
    assert set(first.facts["agreement: re-stainings that take part"].split(", ")) <= {"linear-ot", "translator"}
    # Colours say nothing to the classifier that sees shape alone.
    taught = [(r.classifier, r.mode) for r in first.rows if r.images == "taught-table"]
    assert taught == [("Learner", "strict")]
    assert read_normalizer(agreement / "taught-table-learner.json").standardize(np.zeros((1, 8, 8, 3), np.uint8)).any()
    assert list_snapshots(agreement / "source-looks" / "0")
    # Two of the study (of re-stainings and of shape), one trained for the agreement, one of the source's looks.
    assert list_snapshots(agreement / "members" / "0" / "0")
    assert all(list_snapshots(agreement / "labels-6" / str(place)) for place in range(4))
    assert list(agreement.rglob("state")) == []
    again, labels = run(small_study, tmp_path / "out", *CHANGES)
    assert again.rows == first.rows
    assert "fitting re-stainings that agree" not in labels


@pytest.mark.parametrize("bad", ["doubt=-1", 'restainings=["linear-oat"]', "few_labels=[0]", "sure=1.0"])
def test_what_makes_no_sense_is_refused(small_study: Path, bad: str) -> None:
    with pytest.raises(RecipeError, match=bad.partition("=")[0]):
        read_recipe(small_study, [f"agreement.{bad}"])
