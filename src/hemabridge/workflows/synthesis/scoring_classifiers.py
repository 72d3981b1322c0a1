"""The two classifiers of a synthesis: one for each pair scores its cells, and a second one chooses snapshots."""

from pathlib import Path

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.data.cells import CellSet
from hemabridge.models import open_model
from hemabridge.progress import Progress, prefixed
from hemabridge.recipes.synthesis import PairRecipe, SynthesisRecipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.synthesis.inputs import SynthesisInputs

SECOND = "second"
"""Name of the stage that trains the classifier of all classes."""


def check_classifiers(recipe: SynthesisRecipe, progress: Progress) -> None:
    """Check before hours of training that each classifier can be made.

    Raises:
        ModelError: its architecture or its weights cannot be used.
    """
    for config, classes in ((recipe.scorer, 2), (recipe.second, len(recipe.classes))):
        network = new_network(config.architecture, config.size_px, classes, config.norm)
        if config.weights is not None:
            load_start(network, config.architecture, config.weights, progress)


def second_classifier(inputs: SynthesisInputs) -> SnapshotClassifier:
    """Return the classifier of all classes of the recipe, which is trained on real cells only."""
    return _trained(inputs, SECOND, inputs.recipe.second, inputs.cells("train"), inputs.recipe.seed)


def scorer_stage(pair: PairRecipe) -> str:
    """Return the name of the stage that trains a pair's scoring classifier."""
    return f"{pair.name}/scorer"


def scorer_of(inputs: SynthesisInputs, pair: PairRecipe) -> SnapshotClassifier:
    """Return the classifier of the two classes of a pair, which is trained on real cells of both only."""
    # Another seed than the second classifier's, so that equal architectures give different networks.
    cells = inputs.cells("train", pair.source, pair.target)
    return _trained(inputs, scorer_stage(pair), inputs.recipe.scorer, cells, inputs.recipe.seed + 1)


def _trained(
    inputs: SynthesisInputs, stage: str, config: ClassifierConfig, cells: CellSet, seed: int
) -> SnapshotClassifier:
    def work(folder: Path) -> None:
        fine_tune(config, cells, folder, inputs.fabric, seed=seed, progress=prefixed(inputs.progress, stage))

    described = {
        "config": config.described(),
        "classes": cells.classes,
        "site": inputs.site.described(),
        "order": inputs.site.listed(),
        "size_px": inputs.recipe.size_px,
        "seed": seed,
    }
    folder = inputs.stages.run(stage, described, work, drop_checkpoints)
    found = open_model(folder).classifier
    assert isinstance(found, SnapshotClassifier)  # `fine_tune` wrote it
    return found
