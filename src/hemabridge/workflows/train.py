"""`hemabridge train`: the training of a translator, of a distilled model or of a classifier; it can be resumed."""

from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.errors import ModelError
from hemabridge.models import Model, open_model
from hemabridge.progress import Progress, silent
from hemabridge.recipes.sites import cells_for_translation, prepare_site, read_site
from hemabridge.recipes.trainings import ClassifierTrainingRecipe, DistillationRecipe, TranslatorRecipe
from hemabridge.storage.run_folder import check_run_folder, describe_run
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import CHECKPOINT_FOLDER
from hemabridge.training.run_context import one_process
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.translators.student import distill
from hemabridge.translators.train import train_translator


def train(
    recipe: TranslatorRecipe | DistillationRecipe | ClassifierTrainingRecipe,
    out: Path,
    *,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> list[Snapshot]:
    """Train the model of the recipe in the run folder `out`, or resume an earlier call.

    Returns the snapshots, oldest first.

    Raises:
        Interrupted: a signal stopped it; the same call resumes.
        HemabridgeError: something else that the message explains.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    # A run with a checkpoint already has its description, and may belong to another recipe.
    if fabric.global_rank == 0 and not (out / CHECKPOINT_FOLDER).exists():
        check_run_folder(out, recipe.kind)
        describe_run(out, recipe, str(fabric.device))
    if isinstance(recipe, TranslatorRecipe):
        return _train_translator(recipe, out, fabric, progress)
    if isinstance(recipe, DistillationRecipe):
        return _distill(recipe, out, fabric, progress)
    return _train_classifier(recipe, out, fabric, progress)


def _train_translator(recipe: TranslatorRecipe, out: Path, fabric: Fabric, progress: Progress) -> list[Snapshot]:
    load_px = recipe.translator.load_px
    source, target = (cells_for_translation(site, load_px, progress) for site in (recipe.source, recipe.target))
    return train_translator(recipe.translator, source, target, out, fabric, seed=recipe.seed, progress=progress)


def _distill(recipe: DistillationRecipe, out: Path, fabric: Fabric, progress: Progress) -> list[Snapshot]:
    teacher = open_teacher(recipe.teacher)
    standardizer = teacher.cell_standardizer()
    cells = cells_for_translation(recipe.site, recipe.translator.load_px, progress)
    return distill(
        recipe.translator, standardizer, teacher.sha256, cells, out, fabric, seed=recipe.seed, progress=progress
    )


def open_teacher(path: Path) -> Model:
    """Open the file of a teacher: the JSON of a normalizer, or the snapshot of a translator.

    Raises:
        ModelError: it is neither of the two.
    """
    if not path.is_file():
        raise ModelError(
            f"expected the snapshot of a translator, or the JSON of a normalizer, got nothing or a folder: {path}"
        )
    return open_model(path)


def _train_classifier(
    recipe: ClassifierTrainingRecipe, out: Path, fabric: Fabric, progress: Progress
) -> list[Snapshot]:
    one_process(fabric, "the training of a classifier")
    manifest = read_site(recipe.site, progress)
    classes = recipe.classes or tuple(sorted(set(manifest.column("class")) - {""}))
    stages = Stages(out)
    site = prepare_site(
        recipe.site, manifest, classes, recipe.parts, seed=recipe.seed, stages=stages, progress=progress
    )
    cells = site.cells(("train",), classes, recipe.size_px, progress)
    has_validation = "validation" in site.manifest.column("split")
    held_out = site.cells(("validation",), classes, recipe.size_px, progress) if has_validation else None
    fine_tune(recipe.classifier, cells, out, fabric, seed=recipe.seed, validation=held_out, progress=progress)
    return list_snapshots(out)
