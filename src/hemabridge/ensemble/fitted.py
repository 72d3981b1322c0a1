"""The fitted ensemble: it predicts the classes of a source site's cells, and was fitted without labels of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.classifiers.semi_supervised import PseudoLabeledCells, fine_tune_semi_supervised
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.members import (
    Member,
    classifiers_of,
    external_names,
    find_external,
    name_below,
    open_members,
    snapshot_names,
)
from hemabridge.ensemble.pooling import logarithmic_pool, mean_of, mean_prediction
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.ensemble.saved import SavedEnsemble, files_within
from hemabridge.errors import InputError
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models import open_model
from hemabridge.normalizers.normalizer import CellScale, Normalizer
from hemabridge.storage.files import atomic_write
from hemabridge.training.run_context import RunContext

ENSEMBLE_FILE: Final = "ensemble.json"
TRANSLATOR: Final = "translator"
"""The name of the study's translator among the re-stainings."""


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """Members and re-stainings whose predictions are pooled.

    The color members predict from every re-staining. The original members, which are the shape members and the
    target-to-source members, predict from the original images. Members of one group make similar errors, so their
    predictions are averaged. The errors of the two groups are on different cells, so their means are combined in a
    logarithmic opinion pool (Genest & Zidek 1986, doi:10.1214/ss/1177013825). The weight of a group is its number of
    members.

    Attributes:
        color_members: at least one.
        shape_members: take the shape view of cells; none if they were left out.
        restainings: at least one, by name; the best one first if they were ranked.
        target_to_source_members: trained on target cells in the source's colors.
        soft_agreement: with the shape members, 0..1, of each re-staining that was tried
            (`hemabridge.metrics.soft_agreement`), for each subdomain; empty without shape members.
        confidence: mean largest probability of the color members on each re-staining, 0..1.
        subdomains: the re-stainings of each subdomain of the source, by the color of its empty field; empty if there is
            one subdomain.
        class_prior: float64[C], the estimated prevalence of each class in the source; None if it was not estimated.
        adabn: whether the shape members use batch norm statistics of the source.
        cells: the crop of the cells on which it was fitted; None if unknown.
        left_out: normalizers that are not used since they make implausible colors, and those colors.
    """

    color_members: tuple[Member, ...]
    shape_members: tuple[Member, ...]
    restainings: Mapping[str, Standardizer]
    target_to_source_members: tuple[Member, ...] = ()
    soft_agreement: Mapping[str, float] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    subdomains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    class_prior: NDArray[np.float64] | None = None
    adabn: bool = False
    cells: CellScale | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.color_members[0].classifier.classes

    @property
    def original_members(self) -> tuple[Member, ...]:
        """The members that predict from the original images."""
        return (*self.shape_members, *self.target_to_source_members)

    def predict(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for images of the source, uint8[N, S, S, 3]."""
        color = [self.predict_color(standardizer.standardize(images)) for standardizer in self.restainings.values()]
        return self.pooled(color, self.predict_original(images))

    def predict_target(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for images of the target site, uint8[N, S, S, 3], which need no re-staining."""
        return self.pooled([self.predict_color(images)], self.predict_original(images))

    def predict_color(self, restained: UInt8Images) -> Probabilities:
        """Return the mean prediction of the color members, float32[N, C], for images in the target's colors."""
        return mean_prediction(classifiers_of(self.color_members), restained)

    def predict_original(self, images: UInt8Images) -> Probabilities | None:
        """Return the mean prediction of the original members, float32[N, C]; None if there are none."""
        return mean_prediction(classifiers_of(self.original_members), images) if self.original_members else None

    def pooled(self, color: Sequence[Probabilities], original: Probabilities | None) -> Probabilities:
        """Return the ensemble's prediction, float32[N, C].

        Args:
            color: mean prediction of the color members on each re-staining, float32[N, C] each.
            original: mean prediction of the original members, float32[N, C]; None if there are none.
        """
        mean = mean_of(color)
        if original is None:
            return mean
        weight = len(self.original_members) / (len(self.color_members) + len(self.original_members))
        return logarithmic_pool(mean, original, weight)

    def restained(self, images: UInt8Images) -> UInt8Images:
        """Return the re-stainings of uint8[N, S, S, 3], uint8[R, N, S, S, 3], in the order of `restainings`."""
        return np.stack([standardizer.standardize(images) for standardizer in self.restainings.values()])

    def fine_tuned(
        self, source: CellSet, labels: NDArray[np.int64] | None, config: EnsembleConfig, context: RunContext
    ) -> "FittedEnsemble":
        """Return the ensemble after each member that was trained here was fine-tuned on cells of the source.

        One half of each batch are the labeled cells on which the member was trained. The other half are cells of the
        source with the ensemble's pseudo-labels: their re-stainings for color members, the original images for others.

        Args:
            source: its labels are not read.
            labels: int64[N], the class of the labeled cells, -1 for all others; None for self-training, which uses no
                label.
            config: `min_confidence` and `semi_supervised`.
            context: its folder gets a run folder for each member; the same call resumes them.

        Raises:
            InputError: a member's own labeled cells are not given, or no cell of the source can be used.
            Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
        """
        targets = pseudo_labels(self.predict(source.images), config.min_confidence, labels)
        restained = PseudoLabeledCells(self.restained(source.images), *targets, source.hashes)
        original = PseudoLabeledCells(source.images[None], *targets, source.hashes)
        shown = [(member, restained) for member in self.color_members]
        shown += [(member, original) for member in self.original_members]
        total = sum(member.snapshot is not None for member, _ in shown)
        tuned: list[Member] = []
        place = 0
        for member, cells in shown:
            if member.snapshot is not None:
                own = context.within(str(place), f"fine-tuning {place + 1} of {total}")
                member, place = _fine_tuned(member, cells, config, own), place + 1
            tuned.append(member)
        color, shape = len(self.color_members), len(self.color_members) + len(self.shape_members)
        return replace(
            self,
            color_members=tuple(tuned[:color]),
            shape_members=tuple(tuned[color:shape]),
            target_to_source_members=tuple(tuned[shape:]),
        )

    def save(self, folder: Path, root: Path, translator: Path | None = None) -> None:
        """Write `ensemble.json`, and the normalizers as JSON beside it.

        Args:
            folder: below `root`.
            root: the folder of the study, which contains the snapshots of all members.
            translator: the snapshot of the study's translator; required if it is one of the re-stainings.

        Raises:
            InputError: a file is not below `root`, or the translator's snapshot is missing.
        """
        files = self.save_normalizers(folder)
        if TRANSLATOR in self.restainings:
            if translator is None:
                raise InputError(
                    "expected the snapshot of the translator, which is one of the re-stainings, got none; state it"
                )
            files[TRANSLATOR] = translator
        prior = [] if self.class_prior is None else self.class_prior.tolist()
        saved = SavedEnsemble(
            color_members=snapshot_names(self.color_members, root),
            shape_members=snapshot_names(self.shape_members, root),
            external_members=external_names(self.color_members),
            target_to_source_members=snapshot_names(self.target_to_source_members, root),
            restainings={name: name_below(root, files[name]) for name in self.restainings},
            translator_scale=_scale_of(self.restainings.get(TRANSLATOR)),
            soft_agreement=dict(self.soft_agreement),
            confidence=dict(self.confidence),
            subdomains=dict(self.subdomains),
            class_prior=dict(zip(self.classes, prior, strict=True)) if prior else {},
            adabn=self.adabn,
            left_out=dict(self.left_out),
        )
        with atomic_write(folder / ENSEMBLE_FILE) as temporary:
            temporary.write_text(saved.to_json(), encoding="utf-8")

    def save_normalizers(self, folder: Path) -> dict[str, Path]:
        """Write the normalizers as JSON, for `hemabridge standardize`; return their files by name."""
        files = {}
        for name, standardizer in self.restainings.items():
            if isinstance(standardizer, Normalizer):
                files[name] = folder / f"{name}.json"
                with atomic_write(files[name]) as temporary:
                    own = standardizer if self.cells is None else standardizer.of_photographs(self.cells)
                    temporary.write_text(own.to_json(), encoding="utf-8")
        return files

    @classmethod
    def load(
        cls, folder: Path, root: Path, external: Mapping[str, Classifier], cells: CellSet | None = None
    ) -> "FittedEnsemble":
        """Read what `save` wrote.

        Args:
            folder: the folder of `ensemble.json`.
            root: the folder of the study.
            external: classifiers of the recipe that were not trained here, by name; it may contain others.
            cells: the cells on which color and shape members were trained, to train them further.

        Raises:
            InputError: a file is missing or outside of `root`, or a classifier is not in the recipe.
            ModelError: a file is damaged.
        """
        saved = SavedEnsemble.read(folder / ENSEMBLE_FILE)
        others = find_external(saved.external_members, external)
        files = dict(zip(saved.restainings, files_within(root, list(saved.restainings.values())), strict=True))
        fitted = cls(
            color_members=(*others, *open_members(saved.color_files(root), cells)),
            shape_members=open_members(saved.shape_files(root), cells),
            restainings={name: _restaining(name, path, saved.translator_scale) for name, path in files.items()},
            target_to_source_members=open_members(files_within(root, saved.target_to_source_members), None),
            soft_agreement=saved.soft_agreement,
            confidence=saved.confidence,
            subdomains=saved.subdomains,
            adabn=saved.adabn,
            left_out=saved.left_out,
            cells=_cells_of(files.values()),
        )
        return replace(fitted, class_prior=_class_prior(saved, fitted.classes))


def _cells_of(restainings: Iterable[Path]) -> CellScale | None:
    """Return the crop of the cells, from the files of the normalizers."""
    headers = [open_model(path).header for path in restainings]
    return next((header.cells for header in headers if isinstance(header, Normalizer)), None)


def _scale_of(translator: Standardizer | None) -> float:
    return translator.scale if isinstance(translator, RescaledStandardizer) else 1.0


def _restaining(name: str, path: Path, translator_scale: float) -> Standardizer:
    found = open_model(path).cell_standardizer()
    scaled = name == TRANSLATOR and translator_scale != 1.0
    return RescaledStandardizer(found, translator_scale) if scaled else found


def _class_prior(saved: SavedEnsemble, classes: tuple[str, ...]) -> NDArray[np.float64] | None:
    if not saved.class_prior:
        return None
    if set(saved.class_prior) != set(classes):
        raise InputError(
            f"expected a class prior of {', '.join(classes)}, got one of {', '.join(saved.class_prior)} in "
            f"{ENSEMBLE_FILE}; {saved.AGAIN}"
        )
    return np.array([saved.class_prior[name] for name in classes], np.float64)


def _fine_tuned(member: Member, source: PseudoLabeledCells, config: EnsembleConfig, context: RunContext) -> Member:
    if member.snapshot is None or member.cells is None:
        raise InputError(
            f"expected a member with its own labeled cells for fine-tuning, got {member.snapshot} without; "
            "fit the ensemble again, or give the cells when it is loaded"
        )
    end = fine_tune_semi_supervised(
        config.semi_supervised,
        member.snapshot,
        member.cells,
        source,
        context.folder,
        context.fabric,
        seed=context.seed,
        progress=context.progress,
    )
    return Member.from_snapshot(end, member.cells)
