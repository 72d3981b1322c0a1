"""The ensemble stage of a study: its inputs, and its predictions for the test parts of both sites."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fine_tuned import fine_tuned_ensemble
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_learning import NAME as LEARNED_LUT
from hemabridge.ensemble.lut_learning import learn_luts, lut_file
from hemabridge.ensemble.members import Members, train_members
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.ensemble.pseudo_labels import few_labels
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.models import open_model
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.study_folder import ENSEMBLE_STAGE, PREDICTIONS, labels_folder
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.study.translation import translator_at

NAME: Final = "ensemble"


@dataclass(frozen=True, eq=False)
class EnsembleStage:
    """The data and settings with which a study's ensemble is fitted and tested.

    Attributes:
        config: settings of the ensemble.
        members: the study's classifiers.
        classifiers: the same, by their names in the recipe.
        source: the source's cells for fitting; their labels are not used.
        labeled: the source's training cells, some of whose labels are used in fine-tuning on few labels.
        target: labeled cells that the members were trained on.
        further: labeled cells of further targets that they were trained on too.
        source_test, target_test: the scored parts.
        source_test_at: the source's test cells at the size of each classifier, by its name.
        sites: names of source and target.
        translator: the study's translator at its last tested epoch; None without one.
        inputs: values that identify the stage's inputs; JSON.
        context: of the study; its folder is the study's.
    """

    config: EnsembleConfig
    members: Members
    classifiers: Mapping[str, Classifier]
    source: CellSet
    labeled: CellSet
    target: CellSet
    further: tuple[CellSet, ...]
    source_test: CellSet
    target_test: CellSet
    source_test_at: Mapping[str, CellSet]
    sites: tuple[str, str]
    translator: TranslatorModel | None
    inputs: Mapping[str, object]
    context: RunContext

    @property
    def files_seen(self) -> frozenset[str]:
        """Hashes of all files that the ensemble is fitted on."""
        return frozenset(digest for cells in (self.source, self.target, *self.further) for digest in cells.hashes)

    def run(self, stages: Stages) -> list[Predictions]:
        """Return the ensemble's predictions for the test parts of both sites, possibly those of an earlier call."""
        inputs = {"recipe": self.config.model_dump(mode="json"), **self.inputs}
        folder = stages.run(ENSEMBLE_STAGE, inputs, self._work, drop_checkpoints)
        return list(read_predictions(folder / PREDICTIONS)[0])

    def _work(self, folder: Path) -> None:
        config, context = self.config, replace(self.context, folder=folder)
        members = train_members(self.members, config.members, self.target, context.within("members"), self.further)
        members.save(folder, self.context.folder)
        translator = None
        if self.translator is not None and config.translator:
            translator = translator_at(self.translator, self.source.images.shape[1])
        fitted = fit_ensemble(members, self.source, self.target, config, context, translator=translator)
        snapshot = None if self.translator is None else self.translator.path
        fitted.save(folder, self.context.folder, snapshot)
        found = [*self._tests(fitted), *self._tests_of_luts(fitted, context)]
        for count in config.few_labels:
            own = context.within(labels_folder(count), f"{count} labels")
            labels = few_labels(self.labeled.labels, count, context.seed)
            tuned = fine_tuned_ensemble(fitted, self.labeled, labels, config, own)
            tuned.save(own.folder, self.context.folder, snapshot)
            found += [
                self._originals(tuned, count),
                self._of_source(tuned.predict(self.source_test.images), NAME, count),
            ]
        write_predictions(found, self.source_test.classes, folder / PREDICTIONS)

    def _tests(self, fitted: FittedEnsemble) -> list[Predictions]:
        of_source = fitted.predict(self.source_test.images)
        of_target = fitted.predict_target(self.target_test.images)
        home = self._predictions(self.sites[1], self.target_test, of_target, ORIGINAL, 0)
        return [home, self._originals(fitted), self._of_source(of_source, NAME)]

    def _tests_of_luts(self, fitted: FittedEnsemble, context: RunContext) -> list[Predictions]:
        names = learn_luts(self.config.learned_lut, self.classifiers, fitted, self.source, self.target.images, context)
        found = []
        for name in names:
            table = open_model(lut_file(context.folder, name)).cell_standardizer()
            restained = table.standardize(self.source_test_at[name].images)
            predicted = self._of_source(mean_prediction([self.classifiers[name]], restained), LEARNED_LUT)
            found.append(replace(predicted, classifier=name))
        return found

    def _originals(self, fitted: FittedEnsemble, labels_used: int = 0) -> Predictions:
        return self._of_source(fitted.predict_target(self.source_test.images), ORIGINAL, labels_used)

    def _of_source(self, prediction: Probabilities, images: str, labels_used: int = 0) -> Predictions:
        return self._predictions(self.sites[0], self.source_test, prediction, images, labels_used)

    @staticmethod
    def _predictions(
        site: str, cells: CellSet, prediction: Probabilities, images: str, labels_used: int
    ) -> Predictions:
        return Predictions(
            site=site,
            part="test",
            classifier=NAME,
            images=images,
            snapshot=None,
            labels_used=labels_used,
            ids=cells.ids,
            truth=cells.labels,
            probabilities=prediction,
        )
