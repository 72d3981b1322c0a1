"""`hemabridge study`: Blocks 1 and 2 of the paper on two sites, as one resumable run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.network import pretrained_cfg
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet, joined
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fitted import ENSEMBLE_FILE
from hemabridge.ensemble.members import Member, Members
from hemabridge.ensemble.saved import SavedEnsemble
from hemabridge.errors import Interrupted
from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.evaluation.leaderboard_files import write_leaderboard
from hemabridge.evaluation.paired_bootstrap import RunKey
from hemabridge.evaluation.predictions import Predictions, write_predictions
from hemabridge.evaluation.results import AuditFinding, MorphologyCheck, StudyResults
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.files import write_image
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.study_folder import TRANSLATOR_STAGE, StudyFolder, classifier_stage
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.report.report import write_study_report
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_run_folder, describe_run, hold_folder, versions
from hemabridge.training.run_context import RunContext, one_process
from hemabridge.training.snapshots import last_snapshot, snapshot_files
from hemabridge.workflows.study.classifier_stage import StudyClassifiers, variant_name
from hemabridge.workflows.study.computed_results import Findings, collect
from hemabridge.workflows.study.ensemble_stage import EnsembleStage
from hemabridge.workflows.study.facts import read_chosen, structure_facts, study_facts
from hemabridge.workflows.study.guard_stage import StudyGuard
from hemabridge.workflows.study.inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study.labels import StudyLabels
from hemabridge.workflows.study.outlook import Outlook, planned_seconds
from hemabridge.workflows.study.report_pictures import draw_figure_4, loss_curves, refused_cells, study_pictures
from hemabridge.workflows.study.restained import Restained
from hemabridge.workflows.study.translation import StudyTranslation


def study(recipe: StudyRecipe, out: Path, *, fabric: Fabric | None = None, progress: Progress = silent) -> StudyResults:
    """Run, or resume, a study; write results, tables and the report to `out`.

    The steps: split both sites; fine-tune the classifiers on the target; train the translator; re-stain the source at
    each tested epoch; test on the source's test part, original and re-stained; fine-tune on the source's training part,
    original and re-stained, and test again; check the morphology of the re-stained cells. `results.json`,
    `predictions.csv`, `tables/`, `figure-4.png` and `report.html` are written at the end. A stage with unchanged inputs
    is not done again.

    Raises:
        Interrupted: a signal stopped it; the same call resumes.
        HemabridgeError: something else that the message explains.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    one_process(fabric, "a study")
    check_run_folder(out, recipe.kind)
    with hold_folder(out):
        describe_run(out, recipe, str(fabric.device))
        started = Study(recipe, out, fabric, progress)
        try:
            return started.run()
        except (KeyboardInterrupt, Interrupted) as stop:
            raise Interrupted(started.outlook.at_stop(out)) from stop


@dataclass(frozen=True)
class Tested:
    """The predictions of all classifiers of a study with one seed.

    Attributes:
        restained: the source's cells re-stained by each method, at the size at which its model works.
        shown: the same at the size of the study's translator, for comparisons and figures.
        tests: predictions for the test parts of both sites.
        validation: predictions for the target's validation part.
        seen: hashes of the files that a method in these tests was fitted on; empty for original images.
        variants: name of the classifier that a variant was made from, by the variant's name.
    """

    restained: Sequence[Restained]
    shown: Sequence[Restained]
    tests: Sequence[Predictions]
    validation: Sequence[Predictions]
    seen: Mapping[RunKey, frozenset[str]]
    variants: Mapping[str, str]


class Study:
    """The stages of one study, in their order."""

    def __init__(self, recipe: StudyRecipe, out: Path, fabric: Fabric, progress: Progress) -> None:
        self.recipe, self.folder = recipe, StudyFolder(out)
        for config in recipe.trainings:
            pretrained_cfg(config.architecture)  # raises early if timm does not have this architecture
        self.inputs = StudyInputs(recipe, out, fabric, progress)
        self.outlook = Outlook(planned_seconds(self.inputs), progress)
        self.inputs.stages.listener = self.outlook

    def run(self) -> StudyResults:
        """Do all stages that are not finished, and write the results."""
        classifiers = StudyClassifiers(self.inputs)
        self._check(classifiers)
        failing = classifiers.failing_given()
        audit = self.inputs.audit()
        tested = test_classifiers(classifiers)
        guard = StudyGuard(self.inputs).run(tested.restained) if self.recipe.guard else ()
        seeds = self.recipe.more_seeds
        others = {seed: test_classifiers(classifiers.of(self.inputs.with_seed(seed))).tests for seed in seeds}
        failing += classifiers.failing_trained(tested.tests)
        results = self._collect(tested, audit, guard, others, failing)
        self._report(results, tested)
        return results

    def _check(self, classifiers: StudyClassifiers) -> None:
        classifiers.check()
        if self.recipe.source_fine_tuning is not None:
            StudyLabels(classifiers, self.recipe.source_fine_tuning).check()

    def _collect(
        self,
        tested: Tested,
        audit: Sequence[AuditFinding],
        guard: Sequence[MorphologyCheck],
        others: Mapping[int, Sequence[Predictions]],
        failing: Sequence[HomeFailure],
    ) -> StudyResults:
        inputs, restained = self.inputs, tested.shown
        test = inputs.cells(SOURCE, "test")
        facts = study_facts(self.recipe, inputs.source, inputs.target, restained)
        facts |= structure_facts(test, restained)
        if self.recipe.ensemble is not None:
            facts |= SavedEnsemble.read(self.folder.ensemble() / ENSEMBLE_FILE).facts()
        facts |= {f"seconds, {name}": seconds for name, seconds in inputs.stages.seconds().items()}
        findings = Findings(
            recipe=self.recipe,
            classes=inputs.classes,
            tests=tested.tests,
            validation=tested.validation,
            seen=tested.seen,
            variants=tested.variants,
            source=inputs.source.name,
            majority=inputs.majority(),
            patients=inputs.patients(),
            other_seeds=others,
            guard=guard,
            home=failing,
        )
        return collect(findings, test, restained, inputs.truth(), facts | versions(), audit)

    def _report(self, results: StudyResults, tested: Tested) -> None:
        inputs, restained = self.inputs, tested.shown
        test, home, truth = inputs.cells(SOURCE, "test"), inputs.cells(TARGET, "test"), inputs.truth()
        write_predictions([*tested.tests, *tested.validation], inputs.classes, self.folder.predictions)
        with atomic_write(self.folder.results) as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        write_leaderboard(results, self.folder.tables)
        write_image(self.folder.figure_4, draw_figure_4(inputs.classes, test, restained, home, truth))
        losses = loss_curves(self.folder.translator_events)
        shown = study_pictures(inputs.classes, test, restained, home, truth, losses, tested.tests)
        shown = replace(shown, refused=refused_cells(test, restained, results.guard))
        write_study_report(results, shown, self.folder.report, read_chosen(self.folder.path, restained))


def test_classifiers(own: StudyClassifiers) -> Tested:
    """Train classifiers and translators with the recipe's seed, re-stain, and test every classifier on all images."""
    inputs, recipe = own.inputs, own.recipe
    classifiers = {spec.name: own.get(spec) for spec in recipe.classifiers}
    validation = [p for spec in recipe.classifiers for p in own.validate(spec, classifiers[spec.name])]
    translation = StudyTranslation(inputs)
    restained = translation.run()
    by_px = {px: translation.at(restained, px) for px in sorted({recipe.cells_px(spec) for spec in recipe.classifiers})}
    shown = {spec.name: by_px[recipe.cells_px(spec)] for spec in recipe.classifiers}
    tests = [p for spec in recipe.classifiers for p in own.test(spec, classifiers[spec.name], shown[spec.name])]
    if recipe.source_fine_tuning is not None:
        labels = StudyLabels(own, recipe.source_fine_tuning)
        tests += [p for spec in recipe.classifiers for p in labels.run(spec, shown[spec.name])]
    seen_by = {(r.method, r.snapshot_name): r.seen for r in restained}
    seen = {p.run: seen_by[p.images, p.snapshot] for p in tests if p.images != ORIGINAL}
    variants: dict[str, str] = {}
    if recipe.adabn:
        measured = frozenset(inputs.cells(SOURCE, "train").hashes)
        for spec in recipe.classifiers:
            remeasured = own.with_adabn(spec, classifiers[spec.name], shown[spec.name])
            seen |= {p.run: seen_by.get((p.images, p.snapshot), frozenset()) | measured for p in remeasured}
            variants[variant_name(spec.name)] = spec.name
            tests += remeasured
    if recipe.ensemble is not None:
        ensemble = ensemble_stage(inputs, recipe.ensemble, classifiers, restained)
        pooled = ensemble.run(inputs.stages)
        seen |= {p.run: ensemble.files_seen for p in pooled if p.images != ORIGINAL}
        tests += pooled
    return Tested(restained, translation.at(restained, recipe.size_px), tests, validation, seen, variants)


def ensemble_stage(
    inputs: StudyInputs, config: EnsembleConfig, classifiers: Mapping[str, Classifier], restained: Sequence[Restained]
) -> EnsembleStage:
    """Return the stage that fits an ensemble of the study's classifiers and re-stainings."""
    recipe, last = inputs.recipe, restained[-1]
    folders = {w.name: classifier_stage(w.name) for w in recipe.classifiers if w.train is not None}
    px = recipe.ensemble_px
    target, further = inputs.cells(TARGET, "train", size_px=px), inputs.further(px)
    return EnsembleStage(
        config=config,
        members=study_members(inputs, classifiers, joined(target, further)),
        classifiers=classifiers,
        source=inputs.cells(SOURCE, *inputs.seen_parts, size_px=px),
        labeled=inputs.cells(SOURCE, "train", size_px=px),
        target=target,
        further=further,
        source_test=inputs.cells(SOURCE, "test", size_px=px),
        target_test=inputs.cells(TARGET, "test", size_px=px),
        source_test_at={w.name: inputs.cells(SOURCE, "test", size_px=recipe.cells_px(w)) for w in recipe.classifiers},
        sites=(inputs.source.name, inputs.target.name),
        translator=last.model if last.snapshot is not None and isinstance(last.model, TranslatorModel) else None,
        inputs={
            "classifiers": [w.model_dump(mode="json") for w in recipe.classifiers],
            "trained": [inputs.stages.key(folder) for folder in folders.values()],
            "translator": inputs.stages.key(TRANSLATOR_STAGE),
            "tested_epochs": recipe.tested_epochs,
            **inputs.further_described(),
            "source": inputs.source.described(),
            "order": inputs.source.listed(),
            "mode": recipe.mode,
            "size_px": px,
            "seed": recipe.seed,
        },
        context=RunContext(inputs.out, inputs.fabric, recipe.seed, inputs.progress),
    )


def study_members(inputs: StudyInputs, classifiers: Mapping[str, Classifier], target: CellSet) -> Members:
    """Return a study's classifiers as members of an ensemble, the external ones first."""
    external: list[Member] = []
    color: list[Member] = []
    shape: list[Member] = []
    for spec in inputs.recipe.classifiers:
        if spec.train is None:
            external.append(Member(classifiers[spec.name], external=spec.name))
            continue
        snapshot = last_snapshot(snapshot_files(StudyFolder(inputs.out).classifier(spec.name)))
        (shape if spec.train.view == "shape" else color).append(Member(classifiers[spec.name], snapshot, target))
    return Members((*external, *color), tuple(shape))
