"""The part of a study in which its classifiers and re-stainings agree on one answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleRecipe
from hemabridge.ensemble.fit import FittedEnsemble, agree, mean_answer
from hemabridge.ensemble.lut_learning import NAME as LEARNED_LUT
from hemabridge.ensemble.lut_learning import can_learn_lut, teach
from hemabridge.ensemble.members import Learner, Members, go_on, new_learners
from hemabridge.ensemble.pseudo_labels import PseudoLabels, few_labels, pseudo_labels
from hemabridge.ensemble.saved import ADABN, MEMBERS, SavedEnsemble, write_normalizers
from hemabridge.ensemble.target_to_source import target_to_source
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.learned_lut import LearnedLut
from hemabridge.progress import Progress, prefixed
from hemabridge.storage.files import atomic_write
from hemabridge.storage.names import folder_name
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints

NAME = "ensemble"
STAGE = "ensemble"


@dataclass(frozen=True, eq=False)
class EnsembleSteps:
    """How a members comes to agree about a source, step by step; each step resumes what it began in its folder.

    Attributes:
        recipe: which steps, and how.
        target: labeled cells that the classifiers were trained on.
        seen: the source's cells that may be fitted on; their labels are not read.
        labeled: the source's cells of which `taught` reads some labels.
        translator: takes part as a re-staining; None if none does.
        seed: of all draws.
        fabric: device, precision and processes.
        progress: called after each step of a training.
    """

    recipe: EnsembleRecipe
    target: CellSet
    seen: CellSet
    labeled: CellSet
    translator: Standardizer | None
    seed: int
    fabric: Fabric
    progress: Progress

    def with_members(self, members: Members, folder: Path) -> Members:
        """Return the members with the classifiers of the target that are trained for the ensemble alone."""
        learners = list(members.learners)
        for number, spec in enumerate(self.recipe.members):
            learners += new_learners(
                spec.train,
                self.target,
                folder / str(number),
                self.fabric,
                direct=spec.train.view == "shape",
                count=spec.count,
                seed=self.seed + 1,  # the study's own classifiers have its seed
                progress=prefixed(self.progress, f"members {number + 1}"),
            )
        return Members(tuple(learners), members.others)

    def agree(self, members: Members) -> tuple[Members, FittedEnsemble]:
        """Fit the re-stainings on which the members agrees; return also the members without those who are not sure."""
        self.progress("fitting re-stainings that agree", 0, 1)
        fitted = agree(
            self.recipe,
            members.asked_about_restainings(),
            self.seen.images,
            self.target,
            trained={} if self.translator is None else {"translator": self.translator},
            direct=members.direct(),
            seed=self.seed,
            name=NAME,
        )
        return members.heard(fitted), fitted

    def with_target_to_source(self, members: Members, fitted: FittedEnsemble, folder: Path) -> Members:
        """Return the members with those who learn the target's cells in the source's looks."""
        spec = self.recipe.target_to_source
        if spec is None:
            return members
        answer = fitted.probabilities(self.seen.images)
        cells = target_to_source(spec, self.target, self.seen.images, answer, self.seed)
        new = new_learners(
            spec.train,
            cells,
            folder,
            self.fabric,
            direct=True,
            count=spec.classifiers,
            seed=self.seed,
            progress=prefixed(self.progress, "in the source's looks"),
        )
        return Members((*members.learners, *new), members.others)

    def self_trained(self, members: Members, fitted: FittedEnsemble, folder: Path) -> Members:
        """Return the members after each has learned from what all agree on; no label of the source is used."""
        labels_for_all = pseudo_labels(fitted.probabilities(self.seen.images), self.recipe.min_confidence)
        return self._gone_on(members, fitted, self.seen, labels_for_all, folder)

    def taught(self, members: Members, fitted: FittedEnsemble, count: int, folder: Path) -> Members:
        """Return the members after each has learned `count` labels, and what all agree on about the other cells.

        Raises:
            InputError: there are not so many labeled cells.
        """
        labels = few_labels(self.labeled.labels, count, self.seed)
        labels_for_all = pseudo_labels(fitted.probabilities(self.labeled.images), self.recipe.min_confidence, labels)
        return self._gone_on(members, fitted, self.labeled, labels_for_all, folder)

    def table_for(self, classifier: Classifier, fitted: FittedEnsemble, folder: Path) -> LearnedLut | None:
        """Return the color table with which a classifier of the target says what all agree on; None if it has none.

        Only a network that sees color can be taught one: an ONNX file gives no gradients.
        """
        spec = self.recipe.learned_lut
        if spec is None or not can_learn_lut(classifier):
            return None
        return teach(
            spec,
            classifier,
            self.seen,
            fitted.probabilities(self.seen.images),
            self.target.images,
            folder,
            self.fabric,
            seed=self.seed,
            progress=prefixed(self.progress, f"table for {classifier.name}"),
        )

    def _gone_on(
        self, members: Members, fitted: FittedEnsemble, cells: CellSet, pseudo_labels: PseudoLabels, folder: Path
    ) -> Members:
        spec, seed = self.recipe.semi_supervised, self.seed
        return go_on(
            members, fitted, cells, pseudo_labels, spec, folder, self.fabric, seed=seed, progress=self.progress
        )


@dataclass(frozen=True, eq=False)
class EnsembleStage:
    """The steps of a study's ensemble, and what is written of them.

    Attributes:
        learners: classifiers that the study trained.
        others: its other classifiers.
        named: all of them, by the names of the recipe.
        home, test: the scored parts of target and source.
        translator_file: the snapshot of `steps.translator`; None without one.
        inputs: what identifies all of it; JSON.
    """

    steps: EnsembleSteps
    learners: tuple[Learner, ...]
    others: tuple[Classifier, ...]
    named: Mapping[str, Classifier]
    sites: tuple[str, str]
    home: CellSet
    test: CellSet
    translator_file: Path | None
    inputs: Mapping[str, object]

    @property
    def files_seen(self) -> frozenset[str]:
        """Hashes of all files that the re-stainings are fitted on."""
        return frozenset((*self.steps.seen.hashes, *self.steps.target.hashes))

    def run(self, stages: Stages) -> list[Predictions]:
        """Return, or read from an earlier call, what the steps classifiers say of both sites' test parts."""
        inputs = {"recipe": self.steps.recipe.model_dump(mode="json"), **self.inputs}
        folder = stages.run(STAGE, inputs, lambda folder: self._work(folder, stages.folder), drop_checkpoints)
        return list(read_predictions(folder / "predictions.csv")[0])

    def _work(self, folder: Path, study: Path) -> None:
        steps, recipe = self.steps, self.steps.recipe
        members = steps.with_members(Members(self.learners, self.others), folder / "members")
        SavedEnsemble.of(members, {}, self.named, study).write(folder, MEMBERS)
        members, fitted = steps.agree(members)
        members = members.kept(fitted, folder / ADABN)
        restainings = write_normalizers(fitted, folder)
        if self.translator_file is not None and "translator" in fitted.standardizers:
            restainings["translator"] = self.translator_file
        if recipe.target_to_source is not None:
            members = steps.with_target_to_source(members, fitted, folder / "target-to-source")
            fitted = members.answering(fitted)
        found = [
            self._predictions(self.sites[1], self.home, fitted.at_home(self.home.images), ORIGINAL, 0),
            self._original(fitted, 0),
            self._fitted(fitted, 0, NAME),
        ]
        for number in range(1, recipe.self_training_rounds + 1):
            members = steps.self_trained(members, fitted, folder / f"self-training-{number}")
            fitted = members.answering(fitted)
            found.append(self._fitted(fitted, 0, f"{NAME}, self-training {number}"))
        SavedEnsemble.of(members, restainings, self.named, study, fitted).write(folder)
        found += self._with_tables(fitted, folder)
        for count in recipe.few_labels:
            own = folder / f"labels-{count}"
            learned = steps.taught(members, fitted, count, own)
            SavedEnsemble.of(learned, restainings, self.named, study, fitted).write(own)
            taught = learned.answering(fitted)
            found += [self._original(taught, count), self._fitted(taught, count, NAME)]
        write_predictions(found, self.test.classes, folder / "predictions.csv")
        steps.progress("fitting re-stainings that agree", 1, 1)

    def _with_tables(self, fitted: FittedEnsemble, folder: Path) -> list[Predictions]:
        found = []
        for name, classifier in self.named.items():
            table = self.steps.table_for(classifier, fitted, folder / f"{LEARNED_LUT}-{folder_name(name)}")
            if table is None:
                continue
            with atomic_write(folder / f"{LEARNED_LUT}-{folder_name(name)}.json") as temporary:
                temporary.write_text(table.to_json(), encoding="utf-8")
            answer = mean_answer([classifier], table.standardize(self.test.images))
            said = self._predictions(self.sites[0], self.test, answer, LEARNED_LUT, 0)
            found.append(replace(said, classifier=name))
        return found

    def _original(self, fitted: FittedEnsemble, labels_used: int) -> Predictions:
        answer = fitted.at_home(self.test.images)
        return self._predictions(self.sites[0], self.test, answer, ORIGINAL, labels_used)

    def _fitted(self, fitted: FittedEnsemble, labels_used: int, images: str) -> Predictions:
        answer = fitted.probabilities(self.test.images)
        return self._predictions(self.sites[0], self.test, answer, images, labels_used)

    @staticmethod
    def _predictions(site: str, cells: CellSet, answer: Probabilities, images: str, labels_used: int) -> Predictions:
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
