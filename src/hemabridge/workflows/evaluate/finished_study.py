"""A finished study that classifies new cells with its classifiers and re-stainings, and with its ensemble."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet, joined
from hemabridge.data.new_cells import NewCells
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.distilled import distill
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_learning import NAME as LEARNED_LUT
from hemabridge.ensemble.lut_learning import learn_luts, lut_file
from hemabridge.ensemble.members import Members
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.errors import InputError
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.open import OpenModels, read_selection
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import ClassifierRecipe, StudyRecipe
from hemabridge.recipes.sites import read_settled
from hemabridge.training.run_context import RunContext
from hemabridge.training.snapshots import last_snapshot, snapshot_files
from hemabridge.workflows.evaluate.answers import (
    ONE_CLASSIFIER,
    Answers,
    name_of,
    of_ensemble,
    of_one_classifier,
)
from hemabridge.workflows.study.ensemble_stage import NAME as ENSEMBLE
from hemabridge.workflows.study.translation import FittedRestaining, fitted_restainings, restained_at


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study, whose models classify new cells.

    Attributes:
        folder: of the study.
        recipe: its recipe.
        classes: its class names, in the order of the labels.
        progress: called after each step.
    """

    folder: Path
    recipe: StudyRecipe
    classes: tuple[str, ...]
    progress: Progress = field(compare=False)

    @property
    def study(self) -> StudyFolder:
        """The layout of its folder."""
        return StudyFolder(self.folder)

    @cached_property
    def classifiers(self) -> dict[str, Classifier]:
        """The classifiers of the recipe, by name.

        Raises:
            InputError: one was not trained.
            ModelError: a file is damaged.
        """
        return {spec.name: self._classifier(spec) for spec in self.recipe.classifiers}

    @cached_property
    def opened(self) -> OpenModels:
        """The models of the study, each of which is opened on first use."""
        return OpenModels()

    @cached_property
    def restainings(self) -> list[FittedRestaining]:
        """All that the study re-stained with, in its order.

        Raises:
            InputError: a file is missing.
        """
        return fitted_restainings(self.recipe, self.folder)

    def answers(self, images_at: Callable[[int], UInt8Images], only: str | None = None) -> Iterator[Answers]:
        """Yield the predictions of each classifier and of the study's ensemble; nothing is fitted.

        Args:
            images_at: returns the cells, cut from the original images, at a size in pixels, uint8[N, S, S, 3].
            only: the name of the predictions to make; None: all.
        """
        yield from self._original(images_at, only)
        sizes = self._sizes()
        for number, fitted in enumerate(self.restainings, 1):
            shown = fitted.snapshot or fitted.method
            asked = [name for name in self.classifiers if only in (None, name_of(name, shown, 0))]
            pixels = {sizes[name] for name in asked}
            restained = {px: restained_at(self.opened(fitted.path), images_at, px) for px in pixels}
            for name in asked:
                predicted = self.classifiers[name].probabilities(restained[sizes[name]])
                yield Answers(name, fitted.method, fitted.snapshot, 0, predicted)
            self.progress("re-staining and classifying", number, len(self.restainings))
        tables = [name for name in self._with_lut() if only in (None, name_of(name, LEARNED_LUT, 0))]
        yield from self._with_luts(self.study.ensemble(), tables, images_at)
        counts = () if self.recipe.ensemble is None else (0, *self.recipe.ensemble.few_labels)
        for number, count in enumerate(counts, 1):
            if only in (None, *(name_of(ENSEMBLE, shown, count) for shown in (ORIGINAL, ENSEMBLE))):
                fitted_then = self._ensemble(count)
                yield from of_ensemble(fitted_then, images_at(self.recipe.ensemble_px), count)
            self.progress("predicting with the ensemble", number, len(counts))

    def sizes_px(self, *, fit: bool) -> frozenset[int]:
        """Return the sides of all cells that are needed for predictions, in pixels.

        Raises:
            InputError: a file of the study is missing.
            ModelError: a file is damaged.
        """
        sizes = frozenset((self.recipe.size_px, self.recipe.ensemble_px, *self._sizes().values()))
        if fit:
            return sizes
        models = (self.opened(each.path) for each in self.restainings)
        return sizes.union(model.crop().size_px for model in models if isinstance(model, TranslatorModel))

    def default_name(self) -> str:
        """Return the name of the predictions that are used if the user names none.

        They are the last ones of the ensemble, which is fine-tuned on most labels. Without an ensemble they are those
        of the first classifier on the snapshot that `hemabridge select` chose, or on the last one if that was not
        tested.
        """
        if self.recipe.ensemble is not None:
            return self.names(fit=False)[-1]
        first, last = self.recipe.classifiers[0].name, self.restainings[-1]
        return self.on_selected() or name_of(first, last.snapshot or last.method, 0)

    def refitted(
        self, read: Callable[[int], NewCells], folder: Path, fabric: Fabric
    ) -> tuple[FittedEnsemble, list[Answers]]:
        """Fit the study's ensemble to the cells of another hospital, without its labels; return its predictions.

        The steps are those of the study (`fit_ensemble`). The study's translator is not used,
        since it was trained for another hospital. Learned color LUTs are written to `folder`. With
        `EnsembleConfig.distillation` the last predictions are those of the ensemble and of the one classifier into
        which it is distilled.

        Args:
            read: returns the cells of the other hospital, cut from the original images, at a size in pixels.
            folder: for all that is trained; the same call resumes.
            fabric: device and precision.

        Raises:
            InputError: the study has no ensemble.
            Interrupted: a signal stopped it.
        """
        config = self.check_ensemble()
        answers = list(self._original(lambda px: read(px).images))
        context = RunContext(folder, fabric, self.recipe.seed, self.progress)
        source = read(self.recipe.ensemble_px).unlabeled(self.classes)
        fitted, target = self.fit_ensemble_to(source, context), self.labeled_members[1]
        names = learn_luts(config.learned_lut, self.classifiers, fitted, source, target.images, context)
        answers += self._with_luts(folder, names, lambda px: read(px).images)
        answers += of_ensemble(fitted, source.images, 0)
        if config.distillation is not None:
            own = context.within("one-classifier", ONE_CLASSIFIER)
            snapshot = distill(fitted, source, answers[-1].probabilities, config.distillation, own)
            answers += of_one_classifier(answers[-1], self.opened(snapshot).classifier, source.images)
        return fitted, answers

    @cached_property
    def labeled_members(self) -> tuple[Members, CellSet]:
        """The members of the ensemble before any fit, with the cells from which they learned; and those of the target.

        Raises:
            InputError: the study has no ensemble.
        """
        self.check_ensemble()
        known = read_settled(self.recipe.target, self.folder)
        target = known.cells(("train",), self.classes, self.recipe.ensemble_px, self.progress)
        further = [
            read_settled(site, self.folder).cells(("train",), self.classes, self.recipe.ensemble_px, self.progress)
            for site in self.recipe.further_targets
        ]
        labeled = joined(target, further)
        members = Members.load(self.study.ensemble(), self.folder, self.classifiers, labeled, self.opened)
        return members, target

    def fit_ensemble_to(self, source: CellSet, context: RunContext) -> FittedEnsemble:
        """Fit the study's ensemble to the cells of another hospital, without their labels and without learning LUTs.

        Args:
            source: at the size of the ensemble.
            context: seed and progress.

        Raises:
            InputError: the study has no ensemble.
        """
        members, target = self.labeled_members
        return fit_ensemble(members, source, target, self.check_ensemble(), context)

    def check_ensemble(self) -> EnsembleConfig:
        """Return the recipe's ensemble.

        Raises:
            InputError: there is none.
        """
        if self.recipe.ensemble is None:
            raise InputError(f"expected a study with an ensemble ([ensemble] in its recipe) to fit, got {self.folder}")
        return self.recipe.ensemble

    def names(self, *, fit: bool) -> list[str]:
        """Return the names of all predictions, before they are computed."""
        recipe, classifiers = self.recipe, [spec.name for spec in self.recipe.classifiers]
        restainings = [] if fit else self.restainings
        shown = [ORIGINAL, *(each.snapshot or each.method for each in restainings)]
        names = [name_of(classifier, each, 0) for each in shown for classifier in classifiers]
        names += [name_of(classifier, LEARNED_LUT, 0) for classifier in self._with_lut()]
        labels = () if recipe.ensemble is None else (0,) if fit else (0, *recipe.ensemble.few_labels)
        names += [name_of(ENSEMBLE, each, count) for count in labels for each in (ORIGINAL, ENSEMBLE)]
        if fit and recipe.ensemble is not None and recipe.ensemble.distillation is not None:
            names += [name_of(ONE_CLASSIFIER, ORIGINAL, 0), name_of(ENSEMBLE, ONE_CLASSIFIER, 0)]
        return names

    def check_name(self, by: str, *, fit: bool) -> None:
        """Check that there will be predictions of that name.

        Raises:
            InputError: there will be none.
        """
        names = self.names(fit=fit)
        if by not in names:
            near = difflib.get_close_matches(by, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"expected one of {', '.join(names)}, got {by!r}{hint}")

    def on_selected(self) -> str | None:
        """Return the name of the first classifier's predictions on the selected snapshot.

        None if the recipe has an ensemble, or if that snapshot was not tested.
        """
        selection = None if self.recipe.ensemble is not None else read_selection(self.folder)
        if selection is None or selection.chosen is None:
            return None
        name = name_of(self.recipe.classifiers[0].name, selection.chosen, 0)
        return name if name in self.names(fit=False) else None

    def _original(self, images_at: Callable[[int], UInt8Images], only: str | None = None) -> Iterator[Answers]:
        sizes = self._sizes()
        for name, classifier in self.classifiers.items():
            if only in (None, name_of(name, ORIGINAL, 0)):
                yield Answers(name, ORIGINAL, None, 0, classifier.probabilities(images_at(sizes[name])))

    def _ensemble(self, labels: int) -> FittedEnsemble:
        folder = self.study.ensemble(labels)
        return FittedEnsemble.load(folder, self.folder, self.classifiers, opened=self.opened)

    def _sizes(self) -> dict[str, int]:
        return {spec.name: self.recipe.cells_px(spec) for spec in self.recipe.classifiers}

    def _with_luts(
        self, folder: Path, names: Sequence[str], images_at: Callable[[int], UInt8Images]
    ) -> Iterator[Answers]:
        sizes = self._sizes()
        for name in names:
            table = self.opened(lut_file(folder, name)).cell_standardizer()
            restained = table.standardize(images_at(sizes[name]))
            yield Answers(name, LEARNED_LUT, None, 0, mean_prediction([self.classifiers[name]], restained))

    def _with_lut(self) -> list[str]:
        """Return the names of the classifiers for which the study learned a color LUT."""
        names = [spec.name for spec in self.recipe.classifiers]
        return [name for name in names if lut_file(self.study.ensemble(), name).is_file()]

    def _classifier(self, spec: ClassifierRecipe) -> Classifier:
        if spec.external is not None:
            return align_classes(load_external(spec.external), self.classes)
        own = self.study.classifier(spec.name)
        files = snapshot_files(own)
        if not files:
            raise InputError(f"expected the classifier {spec.name} in {self.folder}, got none; run the study again")
        return align_classes(self.opened(last_snapshot(files)).classifier, self.classes)
