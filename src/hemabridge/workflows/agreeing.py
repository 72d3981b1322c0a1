"""The part of a study in which its classifiers and re-stainings agree on one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hemabridge.adaptation.agreement import Agreement, agree, mean_answer
from hemabridge.adaptation.likely_classes import few_labels, known_classes, likely_classes
from hemabridge.classifiers.both_sites import LikelyCells, fine_tune_on_both
from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.imaging.files import atomic_write
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.progress import Progress
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.recipe import AgreementRecipe
from hemabridge.workflows.stages import Stages

NAME = "agreement"
STAGE = "agreement"


@dataclass(frozen=True, eq=False)
class AgreementStudy:
    """What agreement starts from.

    Attributes:
        classifiers: all of the study's.
        snapshots: of those that the study trained, by name: these can go on learning.
        translator: the last snapshot's standardizer; None if the study's translator takes no part.
        seen: the source's cells that may be fitted on, unlabelled.
        labelled: the source's training part, of which `few_labels` takes some labels.
        home, test: the scored parts of target and source.
        inputs: what identifies all of it; JSON.
    """

    recipe: AgreementRecipe
    seed: int
    sites: tuple[str, str]
    classifiers: Mapping[str, Classifier]
    snapshots: Mapping[str, Path]
    translator: Standardizer | None
    target: CellSet
    seen: CellSet
    labelled: CellSet
    home: CellSet
    test: CellSet
    inputs: Mapping[str, object]

    @property
    def files_seen(self) -> frozenset[str]:
        """Hashes of all files that the re-stainings are fitted on."""
        return frozenset((*self.seen.hashes, *self.target.hashes))

    def run(self, stages: Stages, fabric: Fabric, progress: Progress) -> list[Predictions]:
        """Return, or read from an earlier call, what the agreeing classifiers say of both sites' test parts."""

        def work(folder: Path) -> None:
            progress("fitting re-stainings that agree", 0, 1)
            agreed = self._agree(list(self.classifiers.values()))
            _write_normalizers(agreed, folder)
            found = [self._home(agreed), self._original(agreed.classifiers, 0), self._agreed(agreed, 0, NAME)]
            for number in range(1, self.recipe.self_training_rounds + 1):
                agreed = self._self_trained(agreed, folder / f"self-training-{number}", fabric, progress)
                found.append(self._agreed(agreed, 0, f"{NAME}, self-training {number}"))
            for count in self.recipe.few_labels:
                taught = self._taught(agreed, count, folder / f"labels-{count}", fabric, progress)
                found += [self._original(taught.classifiers, count), self._agreed(taught, count, NAME)]
            write_predictions(found, self.test.classes, folder / "predictions.csv")
            progress("fitting re-stainings that agree", 1, 1)

        folder = stages.run(STAGE, {"recipe": self.recipe.model_dump(), **self.inputs}, work, drop_checkpoints)
        return list(read_predictions(folder / "predictions.csv")[0])

    def _agree(self, classifiers: Sequence[Classifier]) -> Agreement:
        trained = {} if self.translator is None else {"translator": self.translator}
        return agree(
            self.recipe, classifiers, self.seen.images, self.target, trained=trained, seed=self.seed, name=NAME
        )

    def _self_trained(self, agreed: Agreement, folder: Path, fabric: Fabric, progress: Progress) -> Agreement:
        answer = agreed.probabilities(self.seen.images)
        shares, weights = likely_classes(answer, self.recipe.sure)
        source = LikelyCells(agreed.views(self.seen.images), shares, weights, self.seen.hashes)
        return self._gone_on(agreed, source, folder, fabric, progress)

    def _taught(self, agreed: Agreement, count: int, folder: Path, fabric: Fabric, progress: Progress) -> Agreement:
        labels = few_labels(self.labelled.labels, count, self.seed)
        shares, weights = known_classes(labels, len(self.labelled.classes))
        source = LikelyCells(agreed.views(self.labelled.images), shares, weights, self.labelled.hashes)
        return self._gone_on(agreed, source, folder, fabric, progress)

    def _gone_on(
        self, agreed: Agreement, source: LikelyCells, folder: Path, fabric: Fabric, progress: Progress
    ) -> Agreement:
        taught = []
        for place, snapshot in enumerate(self.snapshots.values()):
            own = folder / str(place)
            end = fine_tune_on_both(
                self.recipe.both_sites,
                snapshot,
                self.target,
                source,
                own,
                fabric,
                seed=self.seed,
                progress=progress,
            )
            taught.append(SnapshotClassifier.from_snapshot(end))
            drop_checkpoints(own)
        return replace(agreed, classifiers=tuple(taught))

    def _home(self, agreed: Agreement) -> Predictions:
        return _predictions(self.sites[1], self.home, mean_answer(agreed.classifiers, self.home.images), "original", 0)

    def _original(self, classifiers: Sequence[Classifier], labels_used: int) -> Predictions:
        answer = mean_answer(classifiers, self.test.images)
        return _predictions(self.sites[0], self.test, answer, "original", labels_used)

    def _agreed(self, agreed: Agreement, labels_used: int, images: str) -> Predictions:
        return _predictions(self.sites[0], self.test, agreed.probabilities(self.test.images), images, labels_used)


def _write_normalizers(agreed: Agreement, folder: Path) -> None:
    for name, standardizer in agreed.standardizers.items():
        if isinstance(standardizer, Normalizer):
            with atomic_write(folder / f"{name}.json") as temporary:
                temporary.write_text(standardizer.to_json(), encoding="utf-8")


def _predictions(site: str, cells: CellSet, answer: NDArray[np.float32], images: str, labels_used: int) -> Predictions:
    return Predictions(
        site=site,
        part="test",
        classifier=NAME,
        images=images,
        snapshot=None,
        labels_used=labels_used,
        ids=cells.ids,
        truth=cells.labels,
        probabilities=answer,
    )
