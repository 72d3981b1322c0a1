"""A study whose classifiers learn from several labeled hospitals."""

from pathlib import Path

import numpy as np
import pytest

from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.errors import SplitError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.training.tensorfile import read_header
from hemabridge.workflows.study.classifier_stage import StudyClassifiers
from hemabridge.workflows.study.inputs import StudyInputs
from hemabridge.workflows.study.study import study_members

LEARNER = (
    'classifiers=[{name = "Learner", train = {architecture = "test_resnet", size_px = 32, epochs = 1, '
    "learning_rate = 1e-3}}]"
)


def inputs_with(recipe: Path, out: Path, folder: Path | None) -> StudyInputs:
    read = expect_kind(read_recipe(recipe, [LEARNER, "audit=false"]), StudyRecipe).model_dump(mode="json")
    if folder is not None:
        read["target"] = [read["target"], {"site": "public", "folder": str(folder)}]
    return StudyInputs(StudyRecipe.model_validate(read), out, start_fabric("cpu"), silent)


def header_of(snapshot: Path) -> ClassifierHeader:
    return ClassifierHeader.of(read_header(snapshot), snapshot)


def test_classifiers_learn_from_each_target_and_know_each(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    for path in sorted((hospitals / "clinic-like").rglob("*.png")):
        brighter = np.minimum(read_image(path).astype(int) + 12, 255).astype(np.uint8)
        own = tmp_path / "public" / path.parent.name / path.name
        own.parent.mkdir(parents=True, exist_ok=True)
        write_image(own, brighter)
    inputs = inputs_with(small_study, tmp_path / "out", tmp_path / "public")
    (further,) = inputs.further(32)
    assert further.classes == inputs.classes
    assert len(further) == 24

    classifiers = StudyClassifiers(inputs)
    spec = inputs.recipe.classifiers[0]
    classifier = classifiers.get(spec)
    snapshot = list_snapshots(StudyFolder(inputs.out).classifier(spec.name))[-1].path
    header = header_of(snapshot)
    assert set(further.hashes) < set(header.seen)

    target = inputs.cells("target", "train")
    alone = inputs_with(small_study, tmp_path / "alone", None)
    assert not alone.further(32)
    StudyClassifiers(alone).get(spec)
    before = header_of(list_snapshots(StudyFolder(alone.out).classifier(spec.name))[-1].path)
    assert set(before.seen) == set(target.hashes)
    assert before.cells_sha256 != header.cells_sha256
    assert study_members(inputs, {spec.name: classifier}, target).color[0].snapshot == snapshot


def test_a_further_target_that_holds_scored_images_is_refused(
    small_study: Path, hospitals: Path, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="expected different images at yellow-field and public"):
        inputs_with(small_study, tmp_path / "out", hospitals / "yellow-field")
