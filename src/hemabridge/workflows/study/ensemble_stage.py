"""The part of a study in which its classifiers and re-stainings agree on one answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import AgreementRecipe
from hemabridge.ensemble.fit import Agreement, agree, mean_answer
from hemabridge.ensemble.lut_learning import NAME as TAUGHT_TABLE
from hemabridge.ensemble.lut_learning import can_be_taught, teach
from hemabridge.ensemble.members import Learner, Team, go_on, new_learners
from hemabridge.ensemble.pseudo_labels import Believed, few_labels, likely_classes
from hemabridge.ensemble.saved import MEASURED_ANEW, TEAM, KeptAgreement, write_normalizers
from hemabridge.ensemble.target_to_source import in_source_looks
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.learned_lut import TaughtTable
from hemabridge.progress import Progress, prefixed
from hemabridge.storage.files import atomic_write
from hemabridge.storage.names import folder_name
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints

NAME = "agreement"
STAGE = "agreement"


@dataclass(frozen=True, eq=False)
class Agreeing:
    """How a team comes to agree about a source, step by step; each step resumes what it began in its folder.

    Attributes:
        recipe: which steps, and how.
        target: labelled cells that the classifiers were trained on.
        seen: the source's cells that may be fitted on; their labels are not read.
        labelled: the source's cells of which `taught` reads some labels.
        translator: takes part as a re-staining; None if none does.
        seed: of all draws.
        fabric: device, precision and processes.
        progress: called after each step of a training.
    """

    recipe: AgreementRecipe
    target: CellSet
    seen: CellSet
    labelled: CellSet
    translator: Standardizer | None
    seed: int
    fabric: Fabric
    progress: Progress

    def with_members(self, team: Team, folder: Path) -> Team:
        """Return the team with the classifiers of the target that are trained for the agreement alone."""
        learners = list(team.learners)
        for number, wish in enumerate(self.recipe.members):
            learners += new_learners(
                wish.train,
                self.target,
                folder / str(number),
                self.fabric,
                direct=wish.train.view == "shape",
                count=wish.count,
                seed=self.seed + 1,  # the study's own classifiers have its seed
                progress=prefixed(self.progress, f"members {number + 1}"),
            )
        return Team(tuple(learners), team.others)

    def agree(self, team: Team) -> tuple[Team, Agreement]:
        """Fit the re-stainings on which the team agrees; return also the team without those who are not sure."""
        self.progress("fitting re-stainings that agree", 0, 1)
        agreed = agree(
            self.recipe,
            team.asked_about_restainings(),
            self.seen.images,
            self.target,
            trained={} if self.translator is None else {"translator": self.translator},
            direct=team.direct(),
            seed=self.seed,
            name=NAME,
        )
        return team.heard(agreed), agreed

    def with_source_looks(self, team: Team, agreed: Agreement, folder: Path) -> Team:
        """Return the team with those who learn the target's cells in the source's looks."""
        wish = self.recipe.source_looks
        if wish is None:
            return team
        answer = agreed.probabilities(self.seen.images)
        cells = in_source_looks(wish, self.target, self.seen.images, answer, self.seed)
        new = new_learners(
            wish.train,
            cells,
            folder,
            self.fabric,
            direct=True,
            count=wish.classifiers,
            seed=self.seed,
            progress=prefixed(self.progress, "in the source's looks"),
        )
        return Team((*team.learners, *new), team.others)

    def self_trained(self, team: Team, agreed: Agreement, folder: Path) -> Team:
        """Return the team after each has learned from what all agree on; no label of the source is used."""
        believed = likely_classes(agreed.probabilities(self.seen.images), self.recipe.sure)
        return self._gone_on(team, agreed, self.seen, believed, folder)

    def taught(self, team: Team, agreed: Agreement, count: int, folder: Path) -> Team:
        """Return the team after each has learned `count` labels, and what all agree on about the other cells.

        Raises:
            InputError: there are not so many labelled cells.
        """
        labels = few_labels(self.labelled.labels, count, self.seed)
        believed = likely_classes(agreed.probabilities(self.labelled.images), self.recipe.sure, labels)
        return self._gone_on(team, agreed, self.labelled, believed, folder)

    def table_for(self, classifier: Classifier, agreed: Agreement, folder: Path) -> TaughtTable | None:
        """Return the colour table with which a classifier of the target says what all agree on; None if it has none.

        Only a network that sees colour can be taught one: an ONNX file gives no gradients.
        """
        wish = self.recipe.taught_table
        if wish is None or not can_be_taught(classifier):
            return None
        return teach(
            wish,
            classifier,
            self.seen,
            agreed.probabilities(self.seen.images),
            self.target.images,
            folder,
            self.fabric,
            seed=self.seed,
            progress=prefixed(self.progress, f"table for {classifier.name}"),
        )

    def _gone_on(self, team: Team, agreed: Agreement, cells: CellSet, believed: Believed, folder: Path) -> Team:
        wish, seed = self.recipe.both_sites, self.seed
        return go_on(team, agreed, cells, believed, wish, folder, self.fabric, seed=seed, progress=self.progress)


@dataclass(frozen=True, eq=False)
class AgreementStudy:
    """The steps of a study's agreement, and what is written of them.

    Attributes:
        learners: classifiers that the study trained.
        others: its other classifiers.
        named: all of them, by the names of the recipe.
        home, test: the scored parts of target and source.
        translator_file: the snapshot of `steps.translator`; None without one.
        inputs: what identifies all of it; JSON.
    """

    steps: Agreeing
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
        """Return, or read from an earlier call, what the agreeing classifiers say of both sites' test parts."""
        inputs = {"recipe": self.steps.recipe.model_dump(mode="json"), **self.inputs}
        folder = stages.run(STAGE, inputs, lambda folder: self._work(folder, stages.folder), drop_checkpoints)
        return list(read_predictions(folder / "predictions.csv")[0])

    def _work(self, folder: Path, study: Path) -> None:
        steps, recipe = self.steps, self.steps.recipe
        team = steps.with_members(Team(self.learners, self.others), folder / "members")
        KeptAgreement.of(team, {}, self.named, study).write(folder, TEAM)
        team, agreed = steps.agree(team)
        team = team.kept(agreed, folder / MEASURED_ANEW)
        restainings = write_normalizers(agreed, folder)
        if self.translator_file is not None and "translator" in agreed.standardizers:
            restainings["translator"] = self.translator_file
        if recipe.source_looks is not None:
            team = steps.with_source_looks(team, agreed, folder / "source-looks")
            agreed = team.answering(agreed)
        found = [
            self._predictions(self.sites[1], self.home, agreed.at_home(self.home.images), ORIGINAL, 0),
            self._original(agreed, 0),
            self._agreed(agreed, 0, NAME),
        ]
        for number in range(1, recipe.self_training_rounds + 1):
            team = steps.self_trained(team, agreed, folder / f"self-training-{number}")
            agreed = team.answering(agreed)
            found.append(self._agreed(agreed, 0, f"{NAME}, self-training {number}"))
        KeptAgreement.of(team, restainings, self.named, study, agreed).write(folder)
        found += self._with_tables(agreed, folder)
        for count in recipe.few_labels:
            own = folder / f"labels-{count}"
            learned = steps.taught(team, agreed, count, own)
            KeptAgreement.of(learned, restainings, self.named, study, agreed).write(own)
            taught = learned.answering(agreed)
            found += [self._original(taught, count), self._agreed(taught, count, NAME)]
        write_predictions(found, self.test.classes, folder / "predictions.csv")
        steps.progress("fitting re-stainings that agree", 1, 1)

    def _with_tables(self, agreed: Agreement, folder: Path) -> list[Predictions]:
        found = []
        for name, classifier in self.named.items():
            table = self.steps.table_for(classifier, agreed, folder / f"{TAUGHT_TABLE}-{folder_name(name)}")
            if table is None:
                continue
            with atomic_write(folder / f"{TAUGHT_TABLE}-{folder_name(name)}.json") as temporary:
                temporary.write_text(table.to_json(), encoding="utf-8")
            answer = mean_answer([classifier], table.standardize(self.test.images))
            said = self._predictions(self.sites[0], self.test, answer, TAUGHT_TABLE, 0)
            found.append(replace(said, classifier=name))
        return found

    def _original(self, agreed: Agreement, labels_used: int) -> Predictions:
        answer = agreed.at_home(self.test.images)
        return self._predictions(self.sites[0], self.test, answer, ORIGINAL, labels_used)

    def _agreed(self, agreed: Agreement, labels_used: int, images: str) -> Predictions:
        answer = agreed.probabilities(self.test.images)
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
