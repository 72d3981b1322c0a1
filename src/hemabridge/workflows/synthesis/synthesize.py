"""`hemabridge synthesize`: trains, chooses and measures translators between cell classes, as a resumable run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from hemabridge.data.cells import CellSet
from hemabridge.progress import Progress, prefixed, silent
from hemabridge.recipes.synthesis import SynthesisRecipe
from hemabridge.report.report import write_synthesis_report
from hemabridge.report.synthesis_pictures import DirectionPictures, EpochCells, NearCell
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_run_folder, describe_run, hold_folder, versions
from hemabridge.synthesis.learning_curve import LearningCurve
from hemabridge.synthesis.pair_results import FILE, Direction, SynthesisResults
from hemabridge.training.run_context import one_process
from hemabridge.training.snapshots import Snapshot
from hemabridge.translators.train import loop_config
from hemabridge.workflows.synthesis.inputs import SynthesisInputs
from hemabridge.workflows.synthesis.learning_curve_stage import measure_learning_curve
from hemabridge.workflows.synthesis.pair import DIRECTIONS, PairSynthesis
from hemabridge.workflows.synthesis.scoring_classifiers import check_classifiers, second_classifier
from hemabridge.workflows.synthesis.synthetic_cells import there_and_back

REPORT = "report.html"
LEARNING_CURVE = "learning-curve"


def synthesize(
    recipe: SynthesisRecipe, out: Path, *, fabric: Fabric | None = None, progress: Progress = silent
) -> SynthesisResults:
    """Run, or resume, a synthesis; write results, cells and the report to `out`.

    For each pair of classes: train a CycleGAN on real training cells, choose a snapshot of each direction on validation
    cells, translate held-out cells, and compare them with real held-out cells. The cells are written to
    `PAIR/to_target` and `PAIR/to_source`, with a manifest. If the recipe has a section `[learning_curve]`,
    classifiers that learn from few real cells of a class, without and with synthetic ones, are trained in
    `learning-curve`. `results.json` and `report.html` are written at the end. A stage with unchanged inputs is not done
    again.

    Raises:
        Interrupted: a signal stopped it; the same call resumes.
        HemabridgeError: something else that the message explains.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    one_process(fabric, "a synthesis")
    check_run_folder(out, recipe.kind)
    with hold_folder(out):
        describe_run(out, recipe, str(fabric.device))
        check_classifiers(recipe, progress)
        inputs = SynthesisInputs(recipe, out, fabric, progress)
        second = second_classifier(inputs)
        pairs = [PairSynthesis(inputs, pair, second) for pair in recipe.pairs]
        results = SynthesisResults(
            name=recipe.name,
            site=inputs.site.name,
            pairs=tuple(pair.run() for pair in pairs),
            facts=_facts(inputs, pairs),
            learning_curve=_learning_curve(inputs),
        )
        with atomic_write(out / FILE) as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        write_synthesis_report(results, {pair.pair.name: pair_pictures(pair) for pair in pairs}, out / REPORT)
    return results


def _learning_curve(inputs: SynthesisInputs) -> LearningCurve | None:
    """Measure the learning curve of the recipe's rare class, among all classes of the pairs."""
    recipe = inputs.recipe
    if recipe.learning_curve is None:
        return None
    return measure_learning_curve(
        recipe.learning_curve,
        lambda part, size_px: inputs.cells(part, size_px=size_px),
        inputs.out / LEARNING_CURVE,
        inputs.fabric,
        name=recipe.name,
        site=inputs.site.name,
        progress=prefixed(inputs.progress, "learning curve"),
    )


def _facts(inputs: SynthesisInputs, pairs: list[PairSynthesis]) -> dict[str, Any]:
    recipe = inputs.recipe
    config = recipe.translator
    facts: dict[str, Any] = {
        "site": inputs.site.name,
        "crop": "whole images, squeezed" if inputs.site.crop_px == "whole" else f"{inputs.site.crop_px} px",
        "cells as translated and scored": f"{recipe.size_px} x {recipe.size_px} px",
        "scorer": _told(recipe.scorer.architecture, recipe.scorer.weights),
        "second classifier": _told(recipe.second.architecture, recipe.second.weights),
        "seed": recipe.seed,
    }
    for pair in pairs:
        counts = inputs.counts(pair.pair.source, pair.pair.target)
        source, target = (counts[name]["train"] for name in (pair.pair.source, pair.pair.target))
        loop = loop_config(config, source, target, recipe.seed)
        facts[f"training, {pair.pair.name}"] = (
            f"{loop.total_images} images of each class, {loop.total_images / loop.epoch_images:g} epochs"
        )
    stages = inputs.stages.seconds().items()
    seconds = {
        name: found for name, found in stages if "/choice/" not in name and not name.startswith(f"{LEARNING_CURVE}/")
    }
    return facts | {f"seconds, {name}": found for name, found in seconds.items()} | versions()


def _told(architecture: str, weights: object) -> str:
    return f"{architecture}, {'random weights' if weights is None else 'pretrained weights'} at the start"


def pair_pictures(pair: PairSynthesis) -> dict[Direction, DirectionPictures]:
    """Return the pictures of both directions."""
    return {direction: _direction_pictures(pair, direction) for direction in DIRECTIONS}


def _direction_pictures(pair: PairSynthesis, direction: Direction) -> DirectionPictures:
    recipe, inputs = pair.recipe, pair.inputs
    source, intended = pair.classes(direction)
    chosen, made = pair.chosen(direction), pair.cells(direction)
    sources = made.sources.subset(_spread_out(made.sources, recipe.shown_cells))
    real = inputs.cells("test", intended)
    epochs = []
    for snapshot in shown_snapshots(pair.snapshots, recipe.shown_snapshots, chosen):
        model = pair.opened(snapshot)
        synthetic, back = there_and_back(model, direction, sources.images)
        epochs.append(EpochCells(f"epoch {model.header.epoch:g}", snapshot == chosen, synthetic, back))
    training = inputs.cells("train", source, intended)
    nearest = tuple(
        NearCell(
            found,
            made.synthetic[made.sources.ids.index(found.id)],
            training.images[training.ids.index(found.training_id)],
        )
        for found in pair.measured(direction).copies.shown()
    )
    return DirectionPictures(sources.images, tuple(epochs), real.images[_spread_out(real, recipe.shown_cells)], nearest)


def shown_snapshots(snapshots: Sequence[Snapshot], count: int, chosen: Snapshot) -> list[Snapshot]:
    """Return at most `count` snapshots, evenly spaced from the first to the last, including the chosen one."""
    places = set(evenly_spaced(len(snapshots), count, ends=True).tolist())
    own = list(snapshots).index(chosen)
    if own not in places:
        places.remove(min(places, key=lambda place: (abs(place - own), place)))
        places.add(own)
    return [snapshots[place] for place in sorted(places)]


def _spread_out(cells: CellSet, count: int) -> list[int]:
    """Return the indices of at most `count` cells, evenly spaced over their paths and not selected by appearance."""
    order = np.argsort(np.asarray(cells.ids))
    return [int(order[place]) for place in evenly_spaced(len(cells), count, ends=True)]
