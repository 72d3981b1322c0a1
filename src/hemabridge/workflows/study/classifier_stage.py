"""Block 2 of the paper in a study: classifiers of the target, tested on the source, original and re-stained."""

from collections.abc import Sequence
from pathlib import Path

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet
from hemabridge.evaluation.home_check import OtherSite, check_at_home, check_predictions
from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.models import open_model
from hemabridge.models.study_folder import classifier_stage
from hemabridge.progress import prefixed
from hemabridge.recipes.recipe import ClassifierRecipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.study.inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study.restained import Restained


class StudyClassifiers:
    """Trains or opens the classifiers of a study, each once, and predicts with them."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.recipe, self.stages = inputs, inputs.recipe, inputs.stages
        self._given: dict[str, Classifier] = {}
        self._trained: dict[str, SnapshotClassifier] = {}

    def of(self, inputs: StudyInputs) -> "StudyClassifiers":
        """Return the classifiers of the same study with another seed; those of other programs are the same."""
        others = StudyClassifiers(inputs)
        others._given = self._given
        return others

    def check(self) -> None:
        """Check before hours of training that every classifier can be trained or opened."""
        for spec in self.recipe.classifiers:
            if spec.external is not None:
                self.get(spec)
        for config in self.recipe.trainings:
            network = new_network(config.architecture, config.size_px, len(self.inputs.classes), config.norm)
            if config.weights is not None:
                load_start(network, config.architecture, config.weights, self.inputs.progress)

    def get(self, spec: ClassifierRecipe) -> Classifier:
        """Return a classifier of the target site: fine-tuned there, or opened from its file."""
        if spec.external is None:
            return self.trained(spec)
        if spec.name not in self._given:
            self._given[spec.name] = align_classes(load_external(spec.external), self.inputs.classes)
        return self._given[spec.name]

    def trained(self, spec: ClassifierRecipe) -> SnapshotClassifier:
        """Return a classifier that the study fine-tunes on the target."""
        if spec.name not in self._trained:
            self._trained[spec.name] = self._opened(spec)
        return self._trained[spec.name]

    def _opened(self, spec: ClassifierRecipe) -> SnapshotClassifier:
        assert spec.train is not None  # the recipe's own check
        config = spec.train
        size_px = self.recipe.cells_px(spec)
        inputs = {
            "config": config.described(),
            "cells": self.inputs.target.described(),
            **self.inputs.further_described(),
            "classes": self.inputs.classes,
            "size_px": size_px,
            "seed": self.recipe.seed,
        }
        folder = self.stages.run(
            classifier_stage(spec.name),
            inputs,
            lambda f: self._fine_tune(spec.name, config, size_px, f),
            drop_checkpoints,
        )
        found = open_model(folder).classifier
        assert isinstance(found, SnapshotClassifier)  # the stage has trained it
        return found

    def _fine_tune(self, name: str, config: ClassifierConfig, size_px: int, folder: Path) -> None:
        fine_tune(
            config,
            self.inputs.cells(TARGET, "train", size_px=size_px),
            folder,
            self.inputs.fabric,
            seed=self.recipe.seed,
            further=self.inputs.further(size_px),
            progress=prefixed(self.inputs.progress, name),
        )
        drop_checkpoints(folder)

    def test(self, spec: ClassifierRecipe, classifier: Classifier, restained: Sequence[Restained]) -> list[Predictions]:
        """Return the predictions for the target's test part, and for the source's, original and re-stained.

        `restained` holds cells of the size that the recipe states for this classifier (`StudyRecipe.cells_px`).
        """
        source, target = self.inputs.source.name, self.inputs.target.name
        name, size_px = spec.name, self.recipe.cells_px(spec)
        home = predict(name, classifier, self.inputs.cells(TARGET, "test", size_px=size_px), site=target)
        tests = [predict(name, classifier, self.inputs.cells(SOURCE, "test", size_px=size_px), site=source)]
        tests += [
            predict(name, classifier, r.test, site=source, images=r.method, snapshot=r.snapshot_name) for r in restained
        ]
        self.inputs.progress(f"testing {name}", 1, 1)
        return [home, *tests]

    def failing_given(self) -> list[HomeFailure]:
        """Return which classifiers of other programs fail on the target's test cells, and why; report each at once."""
        found = []
        for spec in self.recipe.classifiers:
            if spec.external is None:
                continue
            size_px = self.recipe.cells_px(spec)
            home, away = (self.inputs.cells(which, "test", size_px=size_px) for which in (TARGET, SOURCE))
            other = OtherSite(self.inputs.source.name, away.images, away.labels)
            names = (spec.name, self.inputs.target.name)
            failure = check_at_home(*names, self.get(spec), home.images, home.labels, self.inputs.classes, other)
            if failure is not None:
                found.append(failure)
                self.inputs.progress(failure.sentence, 0, 0)
        return found

    def failing_trained(self, tests: Sequence[Predictions]) -> list[HomeFailure]:
        """Return which classifiers that the study trained fail on the target's test cells, by what they predicted."""
        trained = {spec.name for spec in self.recipe.classifiers if spec.train is not None}
        at_home = [p for p in tests if p.site == self.inputs.target.name and p.part == "test" and not p.labels_used]
        own = [p for p in at_home if p.classifier in trained and p.images == ORIGINAL]
        checked = (check_predictions(p.classifier, p.site, p.truth, p.predicted, len(self.inputs.classes)) for p in own)
        return [failure for failure in checked if failure is not None]

    def validate(self, spec: ClassifierRecipe, classifier: Classifier) -> list[Predictions]:
        """Return the predictions for the target's validation part; nothing without one."""
        if not self.inputs.has_validation():
            return []
        cells = self.inputs.cells(TARGET, "validation", size_px=self.recipe.cells_px(spec))
        return [predict(spec.name, classifier, cells, site=self.inputs.target.name, part="validation")]

    def with_adabn(
        self, spec: ClassifierRecipe, classifier: Classifier, restained: Sequence[Restained]
    ) -> list[Predictions]:
        """Return the predictions after AdaBN on the source's unlabeled training cells.

        For original and for re-stained cells, with the statistics of such cells each time. `restained` is as in `test`.
        Nothing for a classifier without batch norm.
        """
        size_px = self.recipe.cells_px(spec)
        train, test = (self.inputs.cells(SOURCE, part, size_px=size_px) for part in ("train", "test"))
        sets = [(ORIGINAL, None, train, test), *((r.method, r.snapshot_name, r.train, r.test) for r in restained)]
        found = []
        for images, snapshot, own, scored in sets:
            adapted = adabn(classifier, own.images)
            if adapted is not None:
                called = variant_name(spec.name)
                found.append(
                    predict(called, adapted, scored, site=self.inputs.source.name, images=images, snapshot=snapshot)
                )
        return found


def variant_name(classifier: str) -> str:
    """Return the name of a classifier after AdaBN."""
    return f"{classifier}, AdaBN"


def predict(
    name: str,
    classifier: Classifier,
    cells: CellSet,
    *,
    site: str,
    part: str = "test",
    images: str = ORIGINAL,
    snapshot: str | None = None,
    labels_used: int = 0,
) -> Predictions:
    """Predict the classes of cells; `images` and `snapshot` state their re-staining."""
    return Predictions(
        site=site,
        part=part,
        classifier=name,
        images=images,
        snapshot=snapshot,
        labels_used=labels_used,
        ids=cells.ids,
        truth=cells.labels,
        probabilities=classifier.probabilities(cells.images),
    )
