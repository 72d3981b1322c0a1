"""`hemabridge adapt`: fits a classifier and a re-stainer to another hospital's images, from one's own labeled cells."""

from pathlib import Path
from typing import Final

from lightning_fabric import Fabric

from hemabridge.classifiers.network import load_start, new_network
from hemabridge.data.cells import CellSet, joined
from hemabridge.ensemble.distilled import distill
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.members import Members, train_members
from hemabridge.errors import InputError
from hemabridge.guard.thresholds import FEWEST as FEWEST_FOR_LIMITS
from hemabridge.guard.thresholds import learn_normalizer_thresholds
from hemabridge.models.guard_file import guard_path
from hemabridge.progress import Progress, silent
from hemabridge.recipes.sites import Site
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_apart, check_run_folder, describe_run, hold_folder
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import Run, opened_for, run_with
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.adapt.fit_measures import Measures, measured
from hemabridge.workflows.adapt.inputs import PARTS, Context, check_new, labeled_sites, recipe_of, unlabeled_cells
from hemabridge.workflows.adapt.learned_from import LEARNED_FROM_FILE, LearnedFrom
from hemabridge.workflows.adapt.steps import (
    ENSEMBLE,
    FIT,
    LABELED_CELLS,
    MEASURES,
    NEW_CELLS,
    ONE_CLASSIFIER,
    RESULTS_OF_RUN,
    Steps,
    step_seconds,
)
from hemabridge.workflows.guard import LEARNED_FROM, guard_of

FEWEST_GUARDED: Final = 2 * FEWEST_FOR_LIMITS
"""Smallest number of one's own cells from which limits of the morphology guard are learned."""
CLASSIFIER: Final = "classifier"
RESULTS: Final = "results"
"""Folder of the results of `hemabridge run` for the images to which the run was fitted."""


def adapt(
    ours: Path,
    new: Path,
    out: Path,
    *,
    config: AdaptConfig,
    also: tuple[Path, ...] = (),
    seed: int = 0,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> tuple[Adapted, Run]:
    """Train on one's own labeled cells, fit to another hospital without labels, and classify its images.

    Args:
        ours: a folder with a folder of images for each class, or a manifest.
        new: a folder of images of single cells of the other hospital; no label is read.
        out: the run folder; the same call resumes an interrupted one.
        config: settings of the trainings.
        also: further labeled hospitals to learn from, such as public collections.
        seed: random seed of the split and of the trainings.
        fabric: device; the fastest one if not given.
        progress: called after each step.

    Raises:
        ManifestError: one's own images have no labels, or fewer than two classes of enough cells; or an image of the
            other hospital is among the labeled ones.
        InputError: a folder cannot be used, two labeled hospitals have the same name, there are too few new images, or
            `out` holds a finished run of other hospitals or settings.
        SplitError: two labeled hospitals have an image in common.
        Interrupted: a signal stopped it.
    """
    check_apart(out, *(path for path in (ours, new, *also) if path.is_dir()))
    _check_weights(config)
    check_run_folder(out, config.kind)
    _check_same_run(out, new, (ours, *also), config, seed)
    check_new(new)
    with hold_folder(out):
        context = Context(out, config, seed, Stages(out), fabric or start_fabric("auto"), Steps(config, progress))
        describe_run(out, config, str(context.fabric.device))
        adapted = _adapted(ours, new, also, context)
        with atomic_write(out / ADAPTED_FILE) as temporary:
            temporary.write_text(adapted.to_json(), encoding="utf-8")
        context.steps.begin(RESULTS_OF_RUN)
        done = run_with(opened_for(out, context.opened), new, out / RESULTS, progress=context.progress)
        context.steps.end()
        return adapted, done


def _check_same_run(out: Path, new: Path, labeled: tuple[Path, ...], config: AdaptConfig, seed: int) -> None:
    """Check that a finished run is not replaced by one of other hospitals or settings.

    Raises:
        InputError: it would be.
    """
    if not (out / ADAPTED_FILE).is_file() or not (out / LEARNED_FROM_FILE).is_file():
        return
    try:
        finished, learned = Adapted.of_folder(out), LearnedFrom.of_folder(out)
    except InputError:
        return  # a damaged run is done again
    known = [each.site for each in (learned.own, *learned.further)]
    are_same_sites = (finished.source, known) == (new.resolve().name, [recipe_of(path).site for path in labeled])
    if not are_same_sites or (learned.config, learned.seed) != (config, seed):
        raise InputError(
            f"expected a new folder, or that of the same call, got {out} with a finished run for {finished.source} "
            f"that learned from {', '.join(known)}{' with other settings' if are_same_sites else ''}; name another "
            "folder (--out), or remove this one"
        )


def _adapted(ours: Path, new: Path, also: tuple[Path, ...], context: Context) -> Adapted:
    context.steps.begin(LABELED_CELLS)
    own, further, classes, too_few = labeled_sites(ours, also, context)
    context.steps.begin(NEW_CELLS)
    source = unlabeled_cells(new, classes, (own, *further), context)
    LearnedFrom.of(context.config, context.seed, own, further, source).write(context.out)
    target, home = (context.cells(own, part, classes) for part in PARTS)
    others = tuple(context.cells(each, "train", classes) for each in further)
    context.steps.estimate(step_seconds(context.config, len(target), len(source), len(home)))
    trained = _train(own, target, others, context)
    folder = _fit(trained, target, source, home, context)
    summary = Measures.read(folder)
    return Adapted(
        classes=classes,
        target=own.name,
        source=new.resolve().name,
        target_cells=len(target),
        source_cells=len(source),
        crop_px=int(source.crop_px),
        classifier=list_snapshots(folder / CLASSIFIER)[-1].path.relative_to(context.out).as_posix(),
        normalizer=(folder / f"{summary.restainer}.json").relative_to(context.out).as_posix(),
        home_accuracy=summary.home_accuracy,
        home_scored=len(home),
        same_class=summary.same_class,
        agreement=summary.agreement,
        home_agreement=summary.home_agreement,
        prevalence=dict(zip(classes, summary.prevalence, strict=True)),
        left_out=summary.left_out,
        unknown_below=summary.unknown_below,
        certainties=summary.certainties,
        guarded=(folder / f"{summary.restainer}.guard.json").is_file(),
        pretrained=all(spec.train.weights is not None for spec in context.config.members),
        home_confusion=summary.home_confusion,
        too_few=too_few,
    )


def _check_weights(config: AdaptConfig) -> None:
    """Check before any image is read that the pretrained weights can be loaded."""
    for train in {spec.train.architecture: spec.train for spec in config.members}.values():
        if train.weights is not None:
            load_start(new_network(train.architecture, train.size_px, 2, train.norm), train.architecture, train.weights)


def _train(own: Site, target: CellSet, others: tuple[CellSet, ...], context: Context) -> Members:
    inputs = {
        "members": [spec.model_dump(mode="json") for spec in context.config.members],
        "target": own.described(),
        "others": [list(cells.hashes) for cells in others],
        "seed": context.seed,
    }

    def work(folder: Path) -> None:
        run_context, begin = context.within(folder), context.steps.begin
        trained = train_members(Members(()), context.config.members, target, run_context, others, begin, context.opened)
        trained.save(folder, context.out)

    folder = context.stages.run("members", inputs, work, drop_checkpoints)
    return Members.load(folder, context.out, {}, joined(target, others), context.opened)


def _fit(trained: Members, target: CellSet, source: CellSet, home: CellSet, context: Context) -> Path:
    """Fit the ensemble, distill it, measure the classifier, and choose a re-stainer; return the folder."""
    inputs = {
        "members": context.stages.key("members"),
        "source": list(source.hashes),
        "crop_px": source.crop_px,
        "config": [
            context.config.ensemble.model_dump(mode="json"),
            context.config.distillation.model_dump(mode="json"),
        ],
    }

    def work(folder: Path) -> None:
        own = context.within(folder)
        context.steps.begin(FIT)
        fitted = fit_ensemble(trained, source, target, context.config.ensemble, own)
        fitted.save(folder, context.out)
        context.steps.begin(ENSEMBLE)
        predictions = fitted.group_predictions(source.images, context.progress)
        context.steps.begin(ONE_CLASSIFIER)
        snapshot = distill(
            fitted,
            source,
            fitted.pooled(*predictions),
            context.config.distillation,
            own.within(CLASSIFIER, "one classifier"),
        )
        context.steps.begin(MEASURES)
        summary = measured(fitted, context.opened(snapshot).classifier, source, home, predictions, context.progress)
        path = folder / f"{summary.restainer}.json"
        some = target.images[evenly_spaced(len(target), LEARNED_FROM)]
        if len(some) >= FEWEST_GUARDED:
            guard_of(context.opened(path).sha256, learn_normalizer_thresholds(summary.restainer, some), some).write(
                guard_path(path)
            )
        summary.write(folder)

    return context.stages.run("model", inputs, work, drop_checkpoints)
