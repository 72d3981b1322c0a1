"""A small finished study with an ensemble of one color and one shape member, and the images of another hospital."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hemabridge.classifiers.config import SemiSupervisedConfig
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.label import finished_run
from hemabridge.workflows.study.study import study

TRAIN = '{architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}'
CHANGES = (
    "source_fine_tuning=false",
    "guard=false",
    "audit=false",
    "tested_epochs=[2]",
    f'classifiers=[{{name = "Learner", train = {TRAIN}}}]',
    'ensemble={translator = false, restainings = ["linear-ot"], min_confidence = 0.0, '
    "semi_supervised = {images = 24, batch_size = 8}, "
    "members = [{count = 1, train = " + TRAIN.replace("epochs = 1", 'epochs = 1, view = "shape"') + "}]}",
)


@pytest.fixture(scope="module", autouse=True)
def short_distillation() -> Iterator[None]:
    """The classifier that learns the labels sees 160 images and not 4,000."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finished_run.StudyRun, "distillation", SemiSupervisedConfig(images=160, batch_size=16))
        yield


@pytest.fixture(scope="module")
def finished(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study."""
    out = tmp_path_factory.mktemp("finished") / "study"
    study(expect_kind(read_recipe(small_study, CHANGES), StudyRecipe), out, fabric=start_fabric("cpu"))
    return out


@pytest.fixture(scope="module")
def new_hospital(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of another hospital, without manifest: 24 cells, the class in the name of the file."""
    return Path(
        shutil.copytree(
            hospitals / "yellow-field",
            tmp_path_factory.mktemp("new") / "images",
            ignore=shutil.ignore_patterns("*.csv", "*.json"),
        )
    )
