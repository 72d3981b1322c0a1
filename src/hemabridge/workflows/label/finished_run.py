"""What `hemabridge label` begins from: a run of `hemabridge adapt`, or a finished study with an ensemble."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from lightning_fabric import Fabric

from hemabridge.classifiers.config import SemiSupervisedConfig
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet, joined
from hemabridge.ensemble.config import DISTILLATION
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import MEMBERS_FILE, Members
from hemabridge.ensemble.pooling import with_one_classifier
from hemabridge.errors import InputError
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.scale import CropPx
from hemabridge.models.open import OpenModels
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site, read_settled
from hemabridge.storage.files import sha256_of
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.adapt.adapted import Adapted, is_adapt_run
from hemabridge.workflows.adapt.inputs import PARTS
from hemabridge.workflows.adapt.learned_from import LearnedFrom, identity_of
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
from hemabridge.workflows.label.prediction import Prediction, predicted_by


class FinishedRun(Protocol):
    """Classifiers that learned from labeled cells, and what is needed to train one of them further."""

    @property
    def folder(self) -> Path:
        """Of the run."""

    @property
    def name(self) -> str:
        """For reports."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""

    @property
    def seed(self) -> int:
        """Of all draws."""

    @property
    def cell_px(self) -> int:
        """Side of the cells."""

    @property
    def distillation(self) -> SemiSupervisedConfig:
        """Length and learning rate of the training of the single classifier."""

    @property
    def stated_crop(self) -> CropPx | None:
        """The crop of the other hospital's images, if it is not estimated."""

    @property
    def progress(self) -> Progress:
        """Called after each step."""

    @property
    def inputs(self) -> Mapping[str, object]:
        """Values that identify the run; JSON."""

    @property
    def members(self) -> Members:
        """The classifiers, with the cells from which they learned."""

    @property
    def home(self) -> tuple[str, CellSet]:
        """Labeled cells from which no classifier learned, and the name of their part."""

    @property
    def before(self) -> Classifier | None:
        """The single classifier that is in use without labels; None if there is none."""

    def predict(self, source: CellSet, fabric: Fabric) -> Prediction:
        """Fit the ensemble to these cells without their labels, and predict their classes."""


def open_run(folder: Path, progress: Progress) -> FinishedRun:
    """Open a run of `hemabridge adapt`, or a study.

    Raises:
        InputError: it is neither, or not finished; the study has no ensemble; or one's own images are not at hand.
        HemabridgeError: a file of it is damaged.
    """
    if is_adapt_run(folder):
        adapted, learned_from = Adapted.of_folder(folder), LearnedFrom.of_folder(folder)
        return AdaptRun(folder, adapted, learned_from, learned_from.sites(folder), progress)
    layout = StudyFolder(folder)
    if not layout.results.is_file():
        raise InputError(
            "expected a finished run of `hemabridge adapt`, or the folder of a finished study, got "
            f"{folder} without results.json; run `hemabridge adapt OURS NEW --out RUN`"
        )
    recipe = expect_kind(read_recipe(layout.recipe), StudyRecipe)
    finished = FinishedStudy(folder, recipe, StudyResults.read(layout.results).classes, progress)
    finished.check_ensemble()
    return StudyRun(finished)


@dataclass(frozen=True, eq=False)
class AdaptRun:
    """A finished run of `hemabridge adapt`."""

    folder: Path
    adapted: Adapted
    learned_from: LearnedFrom
    sites: tuple[Site, ...]
    progress: Progress

    stated_crop = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def classes(self) -> tuple[str, ...]:
        """See `FinishedRun`, as for all others."""
        return self.adapted.classes

    @property
    def seed(self) -> int:
        """That of the run."""
        return self.learned_from.seed

    @property
    def cell_px(self) -> int:
        """That of the run."""
        return self.learned_from.config.cell_px

    @property
    def distillation(self) -> SemiSupervisedConfig:
        """That of the run."""
        return self.learned_from.config.distillation

    @cached_property
    def inputs(self) -> Mapping[str, object]:
        """The classifiers: those of the ensemble and the single one."""
        members = sha256_of(self.folder / "members" / MEMBERS_FILE)
        classifier = self._opened(self.adapted.file(self.folder, self.adapted.classifier))
        return {"adapt": [members, classifier.sha256], "seed": self.seed}

    @cached_property
    def _opened(self) -> OpenModels:
        return OpenModels()

    @cached_property
    def _target(self) -> CellSet:
        return self._cells(self.sites[0], "train")

    @cached_property
    def members(self) -> Members:
        """The classifiers of the ensemble."""
        further = [self._cells(site, "train") for site in self.sites[1:]]
        return Members.load(self.folder / "members", self.folder, {}, joined(self._target, further), self._opened)

    @cached_property
    def home(self) -> tuple[str, CellSet]:
        """The cells that the run held out."""
        part = tuple(PARTS)[-1]
        return part, self._cells(self.sites[0], part)

    @cached_property
    def before(self) -> Classifier:
        """The single classifier of the run."""
        return self._opened(self.adapted.file(self.folder, self.adapted.classifier)).classifier

    def predict(self, source: CellSet, fabric: Fabric) -> Prediction:
        """Return the predictions of the ensemble, fitted to these cells, together with the single classifier.

        The fit of the run is used if it was to the same cells.
        """
        if identity_of(source) == self.learned_from.fitted_to:
            own = self.adapted.file(self.folder, self.adapted.normalizer).parent
            fitted = FittedEnsemble.load(own, self.folder, {}, opened=self._opened)
        else:
            context = RunContext(self.folder, fabric, self.seed, self.progress)
            fitted = fit_ensemble(self.members, source, self._target, self.learned_from.config.ensemble, context)
        found = predicted_by(fitted, source.images, self.progress)
        both = with_one_classifier(found.probabilities, self.before.probabilities(source.images))
        return Prediction(both, found.agreement, found.features)

    def _cells(self, site: Site, part: str) -> CellSet:
        return site.cells((part,), self.classes, self.cell_px, self.progress)


@dataclass(frozen=True, eq=False)
class StudyRun:
    """A finished study with an ensemble."""

    study: FinishedStudy

    before = None
    distillation = DISTILLATION

    @property
    def folder(self) -> Path:
        """See `FinishedRun`, as for all others."""
        return self.study.folder

    @property
    def name(self) -> str:
        """That of its recipe."""
        return self.study.recipe.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the study."""
        return self.study.classes

    @property
    def seed(self) -> int:
        """That of its recipe."""
        return self.study.recipe.seed

    @property
    def cell_px(self) -> int:
        """That of its ensemble."""
        return self.study.recipe.ensemble_px

    @property
    def stated_crop(self) -> CropPx | None:
        """Whole images, if the study's are."""
        own = read_settled(self.study.recipe.source, self.folder)
        return own.crop_px if own.crop_px == "whole" else None

    @property
    def progress(self) -> Progress:
        """Called after each step."""
        return self.study.progress

    @property
    def inputs(self) -> Mapping[str, object]:
        """The recipe and the members."""
        members = sha256_of(self.study.study.ensemble() / MEMBERS_FILE)
        return {"recipe": self.study.recipe.model_dump(mode="json"), "members": members}

    @property
    def members(self) -> Members:
        """Those of the ensemble before the fit."""
        return self.study.labeled_members[0]

    @cached_property
    def home(self) -> tuple[str, CellSet]:
        """The part `validation`; the part `test` if the study has no such part."""
        site = read_settled(self.study.recipe.target, self.folder)
        part = "validation" if "validation" in site.manifest.column("split") else "test"
        return part, site.cells((part,), self.classes, self.cell_px, self.progress)

    def predict(self, source: CellSet, fabric: Fabric) -> Prediction:
        """Return the predictions of the ensemble."""
        context = RunContext(self.folder, fabric, self.seed, self.progress)
        return predicted_by(self.study.fit_ensemble_to(source, context), source.images, self.progress)
