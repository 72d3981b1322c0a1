"""All measures of the synthetic cells of one direction, with those of real held-out cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.synthesis.copies import check_copies, nearest_training, training_cells
from hemabridge.synthesis.likeness import called, choose, kernel_distance
from hemabridge.synthesis.pair_results import CopyCheck, Direction, DirectionResults, ShapeRow, SnapshotCheck
from hemabridge.synthesis.shape_distributions import compare_shapes, measure_shapes
from hemabridge.workflows.synthesis.inputs import SynthesisInputs
from hemabridge.workflows.synthesis.synthetic_cells import SyntheticCells

SHAPE_CELLS = 200
"""Largest number of training cells of the intended class that give the unit and the floor of shape distances."""


@dataclass(frozen=True)
class Classifiers:
    """The scoring classifier of a pair, and the second classifier, which chose the snapshot."""

    scorer: SnapshotClassifier
    second: SnapshotClassifier


def measure_direction(
    *,
    direction: Direction,
    classes: tuple[str, str],
    checks: Sequence[SnapshotCheck],
    model_sha256: str,
    made: SyntheticCells,
    classifiers: Classifiers,
    inputs: SynthesisInputs,
) -> DirectionResults:
    """Measure synthetic cells of held-out sources of `classes[0]` against real cells of `classes[1]`."""
    source, intended = classes
    real, unscored = (inputs.cells(part, intended).images for part in ("test", "validation"))
    scorer, second = classifiers.scorer, classifiers.second
    label, label_of_all = scorer.classes.index(intended), second.classes.index(intended)
    features = {
        name: scorer.features(images)
        for name, images in (("synthetic", made.synthetic), ("real", real), ("unscored", unscored))
    }
    differences = made.reconstructed.astype(np.float64) - made.sources.images
    return DirectionResults(
        direction=direction,
        source_class=source,
        intended_class=intended,
        snapshot=choose(checks).snapshot,
        model_sha256=model_sha256,
        checks=tuple(checks),
        intended=called(scorer.probabilities(made.synthetic), label),
        intended_real=called(scorer.probabilities(real), label),
        intended_source=called(scorer.probabilities(made.sources.images), label),
        second=called(second.probabilities(made.synthetic), label_of_all),
        second_real=called(second.probabilities(real), label_of_all),
        kid=kernel_distance(features["synthetic"], features["real"]),
        kid_floor=kernel_distance(features["unscored"], features["real"]),
        kid_source=kernel_distance(scorer.features(made.sources.images), features["real"]),
        shapes=_shapes(made, intended, inputs),
        copies=_copies(made, classes, scorer, inputs),
        way_back=float(np.abs(differences).mean()),
    )


def _shapes(made: SyntheticCells, intended: str, inputs: SynthesisInputs) -> tuple[ShapeRow, ...]:
    training = inputs.cells("train", intended)
    some = np.random.default_rng(inputs.recipe.seed).permutation(len(training))[:SHAPE_CELLS]
    return compare_shapes(
        measure_shapes(made.sources.images),
        measure_shapes(made.synthetic),
        measure_shapes(inputs.cells("test", intended).images),
        measure_shapes(training.images[some]),
        seed=inputs.recipe.seed,
    )


def _copies(
    made: SyntheticCells, classes: tuple[str, str], scorer: SnapshotClassifier, inputs: SynthesisInputs
) -> CopyCheck:
    known = inputs.cells("train", *classes)
    training = training_cells(known.ids, known.images, scorer.features(known.images))
    sets = (made.synthetic, *(inputs.cells(part, classes[1]).images for part in ("test", "validation")))
    synthetic, real, unscored = (nearest_training(images, scorer.features(images), training) for images in sets)
    return check_copies(made.sources.ids, synthetic, real, unscored, training)
