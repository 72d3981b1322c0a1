"""`hemabridge demo`: a study of two simulated hospitals, whose ground truth is known."""

from pathlib import Path

import torch
from lightning_fabric import Fabric

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.evaluation.results import StudyResults
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import ClassifierRecipe, SiteRecipe, SourceFineTuningRecipe, StudyRecipe
from hemabridge.storage.run_folder import check_run_folder
from hemabridge.storage.stages import Stages
from hemabridge.translators.presets import PRESETS
from hemabridge.workflows.simulate.simulate import TRUTH, simulate_stage
from hemabridge.workflows.study.study import study

TARGET, SOURCE = "clinic-like", "yellow-field"
CLASSES = ("lymphocyte", "reactive_lymphocyte", "abnormal_lymphocyte", "blast")
SIZE_PX = 64
_RESNET18 = ClassifierConfig(architecture="resnet18", epochs=7, size_px=SIZE_PX)
SETS = {TARGET: {"seed": 1, "n_per_class": 200}, SOURCE: {"seed": 2, "n_per_class": 100}}
"""Each hospital has its own cells; the truth shows the source's cells with the target's appearance."""


def demo(out: Path, *, fabric: Fabric | None = None, progress: Progress = silent) -> StudyResults:
    """Simulate two hospitals, train a small CycleGAN between them, and study its effect on two classifiers.

    All results are written to `out`; the same call resumes.

    Raises:
        Interrupted: a signal stopped it; the same call resumes.
        InputError: `out` holds other files.
        RunError: another process works in it.
    """
    check_run_folder(out, "study")
    torch.set_num_threads(1)  # the networks are too small for several cores: two threads take twice as long
    stages = Stages(out)
    cells = {
        hospital: simulate_stage(stages, hospital, classes=CLASSES, size_px=SIZE_PX, **size, progress=progress)
        for hospital, size in SETS.items()
    }
    return study(demo_recipe(cells[TARGET], cells[SOURCE]), out, fabric=fabric, progress=progress)


def demo_recipe(target: Path, source: Path) -> StudyRecipe:
    """Return the recipe of the demo's study, for the folders that `simulate` wrote."""
    return StudyRecipe(
        kind="study",
        name="demo",
        classes=CLASSES,
        target=SiteRecipe(site=TARGET, manifest=target / TARGET / "manifest.csv", crop_px=SIZE_PX),
        source=SiteRecipe(site=SOURCE, manifest=source / SOURCE / "manifest.csv", crop_px=SIZE_PX),
        truth=SiteRecipe(site=TRUTH, manifest=source / TRUTH / "manifest.csv", crop_px=SIZE_PX),
        translator=PRESETS["cyclegan-demo"].config,
        tested_epochs=(2, 4, 6),
        classifiers=(
            ClassifierRecipe(name="ResNet18", train=_RESNET18),
            ClassifierRecipe(name="ResNet18 focal", train=_RESNET18.model_copy(update={"loss": "focal"})),
        ),
        source_fine_tuning=SourceFineTuningRecipe(epochs=5),
    )
