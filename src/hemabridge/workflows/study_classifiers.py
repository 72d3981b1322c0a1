"""Block 2 of the paper in a study: classifiers of the target, tested on the source, before and after learning there."""

from collections.abc import Sequence
from pathlib import Path

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.progress import prefixed
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import list_snapshots
from hemabridge.training.tensorfile import read_header
from hemabridge.workflows.recipe import ClassifierRecipe
from hemabridge.workflows.restained import Restained
from hemabridge.workflows.stages import folder_name
from hemabridge.workflows.study_inputs import SOURCE, TARGET, StudyInputs


class StudyClassifiers:
    """Trains, or opens, the classifiers of a study, and asks them about cells."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.recipe, self.stages = inputs, inputs.recipe, inputs.stages

    def check(self, wish: ClassifierRecipe) -> None:
        """Find out before hours of training, not after, that a classifier cannot be had."""
        if wish.train is None:
            self.get(wish)
        else:
            network = new_network(wish.train.architecture, wish.train.size_px, len(self.inputs.classes))
            if wish.train.weights is not None:
                load_start(network, wish.train.architecture, wish.train.weights)

    def get(self, wish: ClassifierRecipe) -> Classifier:
        """Return a classifier of the target site: fine-tuned there, or opened from its file."""
        if wish.external is not None:
            return align_classes(load_external(wish.external), self.inputs.classes)
        assert wish.train is not None  # the recipe's own check
        config = wish.train
        inputs = {
            "config": config.model_dump(mode="json"),
            "cells": self.inputs.target.described(),
            "classes": self.inputs.classes,
            "size_px": self.recipe.size_px,
            "seed": self.recipe.seed,
        }
        folder = self.stages.run(
            f"classifiers/{folder_name(wish.name)}",
            inputs,
            lambda f: self._train(wish.name, config, f),
            drop_checkpoints,
        )
        return SnapshotClassifier.from_snapshot(list_snapshots(folder)[-1].path)

    def _train(self, name: str, config: ClassifierConfig, folder: Path) -> None:
        fine_tune(
            config,
            self.inputs.cells(TARGET, "train"),
            folder,
            self.inputs.fabric,
            seed=self.recipe.seed,
            progress=prefixed(self.inputs.progress, name),
        )
        drop_checkpoints(folder)

    def test(self, name: str, classifier: Classifier, restained: Sequence[Restained]) -> list[Predictions]:
        """Return what a classifier says of the target's test part, and of the source's, original and re-stained."""
        source, target = self.inputs.source.name, self.inputs.target.name
        home = self._predict(name, classifier, self.inputs.cells(TARGET, "test"), site=target)
        tests = [self._predict(name, classifier, self.inputs.cells(SOURCE, "test"), site=source)]
        tests += [
            self._predict(name, classifier, r.test, site=source, images=r.method, snapshot=r.snapshot_name)
            for r in restained
        ]
        self.inputs.progress(f"testing {name}", 1, 1)
        return [home, *tests]

    def again(self, wish: ClassifierRecipe, restained: Sequence[Restained]) -> list[Predictions]:
        """Fine-tune again on the source's training part, original and as each snapshot re-stains it, and test."""
        if wish.train is None:
            return []  # a classifier that came as a file is used as it came
        train, test = (self.inputs.cells(SOURCE, part) for part in ("train", "test"))
        tests = [self._again_on(wish, ORIGINAL, None, train, test)]
        translated = [r for r in restained if r.snapshot is not None]
        return tests + [self._again_on(wish, r.method, r.name, r.train, r.test) for r in translated]

    def _again_on(
        self, wish: ClassifierRecipe, images: str, snapshot: str | None, train: CellSet, test: CellSet
    ) -> Predictions:
        again, first = self.recipe.again, f"classifiers/{folder_name(wish.name)}"
        assert again is not None  # the caller's check
        assert wish.train is not None
        start = list_snapshots(self.inputs.out / first)[-1].path
        rate = again.rate_share * read_header(start)["learning_rate"]
        config = wish.train.model_copy(update={"epochs": again.epochs, "learning_rate": rate, "frozen_epochs": 0})

        def work(folder: Path) -> None:
            progress = prefixed(self.inputs.progress, f"{wish.name} again on {snapshot or images}")
            fine_tune(config, train, folder, self.inputs.fabric, seed=self.recipe.seed, progress=progress, start=start)
            classifier = SnapshotClassifier.from_snapshot(list_snapshots(folder)[-1].path)
            found = self._predict(
                wish.name,
                classifier,
                test,
                self.inputs.source.name,
                images=images,
                snapshot=snapshot,
                labels_used=len(train),
            )
            write_predictions([found], self.inputs.classes, folder / "predictions.csv")

        inputs = {
            "again": again.model_dump(),
            "source": self.inputs.source.described(),
            "classifier": self.stages.key(first),
            "order": self.inputs.source.listed(),
            "translator": None if snapshot is None else self.stages.key(f"restained/{snapshot}"),
        }
        folder = self.stages.run(f"again/{folder_name(wish.name)}/{snapshot or images}", inputs, work, drop_checkpoints)
        return read_predictions(folder / "predictions.csv")[0][0]

    def _predict(
        self,
        name: str,
        classifier: Classifier,
        cells: CellSet,
        site: str,
        *,
        images: str = "original",
        snapshot: str | None = None,
        labels_used: int = 0,
    ) -> Predictions:
        return Predictions(
            site=site,
            part="test",
            classifier=name,
            images=images,
            snapshot=snapshot,
            labels_used=labels_used,
            ids=cells.ids,
            truth=cells.labels,
            probabilities=classifier.probabilities(cells.images),
        )
