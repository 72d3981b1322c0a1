"""The effect of labels of the source: the target's classifiers, fine-tuned on the source and tested again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.pseudo_labels import few_labels
from hemabridge.errors import ModelError, RecipeError
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.models import open_model
from hemabridge.models.study_folder import PREDICTIONS, classifier_stage, restained_stage, source_fine_tuning_stage
from hemabridge.progress import prefixed
from hemabridge.recipes.recipe import ClassifierRecipe, SourceFineTuningRecipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.study.classifier_stage import StudyClassifiers, predict
from hemabridge.workflows.study.inputs import SOURCE
from hemabridge.workflows.study.restained import Restained


@dataclass(frozen=True)
class _Images:
    """Training and test cells of the source, original or re-stained by one snapshot."""

    images: str
    snapshot: str | None
    train: CellSet
    test: CellSet


class StudyLabels:
    """The second fine-tuning: on all labels of the source's training part, and on fewer."""

    def __init__(self, classifiers: StudyClassifiers, again: SourceFineTuningRecipe) -> None:
        self.classifiers, self.inputs, self.spec = classifiers, classifiers.inputs, again
        self.recipe, self.stages = self.inputs.recipe, self.inputs.stages

    def check(self) -> None:
        """Check the numbers of labels before hours of training.

        Raises:
            RecipeError: fewer labels than classes, or more than there are training cells.
        """
        counts = self.inputs.source.manifest.column("split").count("train")
        fewest = len(self.inputs.classes)
        wrong = [k for k in self.spec.k_labels if not fewest <= k <= counts]
        if wrong:
            raise RecipeError(
                f"expected source_fine_tuning.k_labels of {fewest} (one of each class) to {counts} (all training cells "
                f"of {self.inputs.source.name}), got {wrong}; change source_fine_tuning.k_labels"
            )

    def run(self, spec: ClassifierRecipe, restained: Sequence[Restained]) -> list[Predictions]:
        """Fine-tune on the source's training part, original and re-stained by each snapshot, and test.

        With fewer labels, only originals and the last tested snapshot are used. The labels are nested: a smaller set is
        a subset of a larger one. Each training has as many images as that on all labels.
        `restained` holds cells of the size that the recipe states for this classifier (`StudyRecipe.cells_px`).
        """
        if spec.train is None:
            return []  # an external classifier is not fine-tuned
        size_px = self.recipe.cells_px(spec)
        train, test = (self.inputs.cells(SOURCE, part, size_px=size_px) for part in ("train", "test"))
        original = _Images(ORIGINAL, None, train, test)
        translated = [_Images(r.method, r.name, r.train, r.test) for r in restained if r.snapshot is not None]
        found = [self._on_all(spec, images) for images in (original, *translated)]
        for count in sorted(set(self.spec.k_labels) - {len(train)}):
            found += [self._on_few(spec, images, count) for images in (original, *translated[-1:])]
        return found

    def _on_all(self, spec: ClassifierRecipe, images: _Images) -> Predictions:
        name = source_fine_tuning_stage(spec.name, images.snapshot or images.images)
        return self._taught(spec, images, self.spec.epochs, name, {"source_fine_tuning": self.spec.described()})

    def _on_few(self, spec: ClassifierRecipe, images: _Images, count: int) -> Predictions:
        known = np.flatnonzero(few_labels(images.train.labels, count, self.recipe.seed) >= 0)
        few = _Images(images.images, images.snapshot, images.train.subset(known), images.test)
        epochs = -(-self.spec.epochs * len(images.train) // count)
        name = source_fine_tuning_stage(spec.name, images.snapshot or images.images, count)
        inputs = {"source_fine_tuning": self.spec.described(), "labels": count, "seed": self.recipe.seed}
        return self._taught(spec, few, epochs, name, inputs)

    def _taught(
        self, spec: ClassifierRecipe, images: _Images, epochs: int, stage: str, inputs: dict[str, object]
    ) -> Predictions:
        first = classifier_stage(spec.name)

        def work(folder: Path) -> None:
            start = self.classifiers.trained(spec)
            config = self._config(spec, epochs, start)
            shown = images.snapshot or images.images
            few = f" with {len(images.train)} labels" if "labels" in inputs else ""
            progress = prefixed(self.inputs.progress, f"{spec.name} again on {shown}{few}")
            fine_tune(
                config, images.train, folder, self.inputs.fabric, seed=self.recipe.seed, progress=progress, start=start
            )
            found = predict(
                spec.name,
                open_model(folder).classifier,
                images.test,
                site=self.inputs.source.name,
                images=images.images,
                snapshot=images.snapshot,
                labels_used=len(images.train),
            )
            write_predictions([found], self.inputs.classes, folder / PREDICTIONS)

        known = {
            "source": self.inputs.source.described(),
            "classifier": self.stages.key(first),
            "order": self.inputs.source.listed(),
            "translator": None if images.snapshot is None else self.stages.key(restained_stage(images.snapshot)),
        }
        folder = self.stages.run(stage, inputs | known, work, drop_checkpoints)
        kept = read_predictions(folder / PREDICTIONS)[0][0]
        return replace(
            kept, images=images.images, snapshot=images.snapshot
        )  # an earlier version named methods less well

    def _config(self, spec: ClassifierRecipe, epochs: int, start: SnapshotClassifier) -> ClassifierConfig:
        assert spec.train is not None  # the caller's check
        known = start.header.learning_rate
        if known is None:
            raise ModelError(
                f"expected a classifier that states its learning rate, got none: {start.path}; train it again"
            )
        rate = self.spec.rate_share * known
        changes = {"epochs": epochs, "learning_rate": rate, "frozen_epochs": 0}
        if self.spec.frozen_batch_norm:
            changes["frozen_batch_norm"] = True
        return spec.train.model_copy(update=changes)
