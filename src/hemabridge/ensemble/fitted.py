"""The fitted ensemble: it predicts the classes of a source site's cells, and was fitted without labels of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Classifier, Probabilities, mean_of
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.members import (
    Member,
    classifiers_of,
    external_names,
    find_external,
    name_below,
    open_members,
    snapshot_names,
)
from hemabridge.ensemble.pooling import logarithmic_pool, mean_prediction
from hemabridge.ensemble.saved import SavedEnsemble, files_within
from hemabridge.ensemble.site_statistics import SiteStatistics
from hemabridge.errors import InputError
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models import open_model
from hemabridge.models.model import Model
from hemabridge.normalizers.normalizer import CellScale, Normalizer
from hemabridge.progress import Progress, counted, silent, uncounted
from hemabridge.storage.files import atomic_write

ENSEMBLE_FILE: Final = "ensemble.json"
STATISTICS_FILE: Final = "site-statistics.safetensors"
ORIGINAL: Final = "original"
"""The name of the original images among those from which color members predict."""
TRANSLATOR: Final = "translator"
"""The name of the study's translator among the re-stainings."""


GroupPredictions: TypeAlias = tuple[Probabilities, Probabilities | None]
"""Mean predictions of color and of shape members, float32[N, C] each; None without shape members."""


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """Members, re-stainings and batch norm statistics whose predictions are pooled.

    The color members predict from the original images and from every re-staining, the shape members from the original
    images. Each predicts twice: with batch norm statistics of the target, and with those of the source
    (`SiteStatistics.weight`). Members of one group make similar errors, so all their predictions are averaged. The
    errors of the two groups are on different cells, so their means are combined in a logarithmic opinion pool (Genest &
    Zidek 1986, doi:10.1214/ss/1177013825). The weight of a group is its number of members.

    Attributes:
        color_members: at least one.
        shape_members: take the shape view of cells.
        restainings: by name.
        site_statistics: the members with batch norm statistics of the source; None without any.
        prevalence: float64[C], mean predicted probability of each class in the source; None if it is not known.
        cells: the crop of the cells on which it was fitted; None if unknown.
        left_out: normalizers that are not used since they make implausible colors, and those colors.
    """

    color_members: tuple[Member, ...]
    shape_members: tuple[Member, ...]
    restainings: Mapping[str, Standardizer]
    site_statistics: SiteStatistics | None = None
    prevalence: NDArray[np.float64] | None = None
    cells: CellScale | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.color_members[0].classifier.classes

    def inputs(self, images: UInt8Images) -> Iterator[tuple[str, UInt8Images]]:
        """Yield the images from which color members predict, by name: the originals, then each re-staining."""
        yield ORIGINAL, images
        for name, standardizer in self.restainings.items():
            yield name, standardizer.standardize(images)

    def predict(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for images of the source, uint8[N, S, S, 3]."""
        return self.pooled(*self.group_predictions(images))

    @property
    def passes(self) -> int:
        """How often a group of members predicts from one kind of image, with batch norm statistics of one site."""
        return 1 + len(self.restainings) + bool(self.shape_members)

    def group_predictions(self, images: UInt8Images, progress: Progress = silent) -> GroupPredictions:
        """Return the predictions of color and of shape members for images of the source, which `pooled` combines."""
        sites = 1 if self.site_statistics is None else 2
        passed = counted(progress, "classifying, passes", sites * self.passes)
        shown = dict(self.inputs(images))
        target = self.predict_with(shown, None, passed=passed)
        if self.site_statistics is None:
            return target
        return self._averaged(target, self.predict_with(shown, self.site_statistics, passed=passed))

    def predict_with(
        self,
        inputs: Mapping[str, UInt8Images],
        statistics: SiteStatistics | None,
        *,
        mirrored: bool = True,
        passed: Callable[[], None] = uncounted,
    ) -> GroupPredictions:
        """Return the mean predictions of color and of shape members with batch norm statistics of one site.

        Args:
            inputs: see `inputs`.
            statistics: those of the source, or None for those of the target.
            mirrored: see `hemabridge.ensemble.pooling.mean_prediction`.
            passed: called after each of the `passes`.
        """
        own, shape = classifiers_of(self.color_members), classifiers_of(self.shape_members)
        by_input = dict.fromkeys(inputs, own) if statistics is None else statistics.color
        shape = shape if statistics is None else tuple(statistics.shape)
        color = []
        for name, shown in inputs.items():
            color.append(mean_prediction(by_input[name], shown, mirrored=mirrored))
            passed()
        if not shape:
            return mean_of(color), None
        of_shape = mean_prediction(shape, inputs[ORIGINAL], mirrored=mirrored)
        passed()
        return mean_of(color), of_shape

    def combined(self, target: GroupPredictions, source: GroupPredictions | None) -> Probabilities:
        """Return the ensemble's prediction, float32[N, C], from those with the target's and the source's statistics."""
        return self.pooled(*self._averaged(target, source))

    def _averaged(self, target: GroupPredictions, source: GroupPredictions | None) -> GroupPredictions:
        """Return the predictions of each group, averaged over the statistics of target and source."""
        color, shape = target
        if source is not None and self.site_statistics is not None:
            weight = self.site_statistics.weight
            color = _between(color, source[0], weight)
            if shape is not None and source[1] is not None:
                shape = _between(shape, source[1], weight)
        return color, shape

    def predict_target(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for images of the target site, uint8[N, S, S, 3].

        They need no re-staining and no other statistics. For images of the source it is what the members predict if
        nothing is done about the difference between the sites.
        """
        shape = classifiers_of(self.shape_members)
        color = mean_prediction(classifiers_of(self.color_members), images)
        return self.pooled(color, mean_prediction(shape, images) if shape else None)

    def pooled(self, color: Probabilities, shape: Probabilities | None) -> Probabilities:
        """Return the ensemble's prediction, float32[N, C], from those of color and, if any, shape members."""
        if shape is None:
            return color
        weight = len(self.shape_members) / (len(self.color_members) + len(self.shape_members))
        return logarithmic_pool(color, shape, weight)

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
        shares = [] if self.prevalence is None else self.prevalence.tolist()
        if self.site_statistics is not None:
            self.site_statistics.save(folder / STATISTICS_FILE)
        saved = SavedEnsemble(
            color_members=snapshot_names(self.color_members, root),
            shape_members=snapshot_names(self.shape_members, root),
            external_members=external_names(self.color_members),
            restainings={name: name_below(root, files[name]) for name in self.restainings},
            translator_scale=_scale_of(self.restainings.get(TRANSLATOR)),
            site_statistics="" if self.site_statistics is None else name_below(root, folder / STATISTICS_FILE),
            prevalence=dict(zip(self.classes, shares, strict=True)) if shares else {},
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
        cls,
        folder: Path,
        root: Path,
        external: Mapping[str, Classifier],
        cells: CellSet | None = None,
        opened: Callable[[Path], Model] = open_model,
    ) -> "FittedEnsemble":
        """Read what `save` wrote.

        Args:
            folder: the folder of `ensemble.json`.
            root: the folder of the study.
            external: classifiers of the recipe that were not trained here, by name; it may contain others.
            cells: the cells on which color and shape members were trained, to train them further.
            opened: opens the files; see `hemabridge.models.open.OpenModels`.

        Raises:
            InputError: a file is missing or outside of `root`, or a classifier is not in the recipe.
            ModelError: a file is damaged.
        """
        saved = SavedEnsemble.read(folder / ENSEMBLE_FILE)
        others = find_external(saved.external_members, external)
        files = dict(zip(saved.restainings, files_within(root, list(saved.restainings.values())), strict=True))
        models = {name: opened(path) for name, path in files.items()}
        fitted = cls(
            color_members=(*others, *open_members(saved.color_files(root), cells, opened)),
            shape_members=open_members(saved.shape_files(root), cells, opened),
            restainings={name: _restaining(name, model, saved.translator_scale) for name, model in models.items()},
            left_out=saved.left_out,
            cells=_cells_of(models.values()),
        )
        fitted = replace(fitted, prevalence=_prevalence(saved, fitted.classes))
        if not saved.site_statistics:
            return fitted
        (file,) = files_within(root, [saved.site_statistics])
        color, shape = classifiers_of(fitted.color_members), classifiers_of(fitted.shape_members)
        return replace(fitted, site_statistics=SiteStatistics.load(file, (ORIGINAL, *fitted.restainings), color, shape))


def _cells_of(restainings: Iterable[Model]) -> CellScale | None:
    """Return the crop of the cells, from the headers of the normalizers."""
    return next((model.header.cells for model in restainings if isinstance(model.header, Normalizer)), None)


def _scale_of(translator: Standardizer | None) -> float:
    return translator.scale if isinstance(translator, RescaledStandardizer) else 1.0


def _restaining(name: str, model: Model, translator_scale: float) -> Standardizer:
    found = model.cell_standardizer()
    scaled = name == TRANSLATOR and translator_scale != 1.0
    return RescaledStandardizer(found, translator_scale) if scaled else found


def _between(target: Probabilities, source: Probabilities, weight: float) -> Probabilities:
    """Return the mean of two predictions, of which the second has this weight, 0..1."""
    mean: Probabilities = ((1 - weight) * target + weight * source).astype(np.float32)
    return mean


def _prevalence(saved: SavedEnsemble, classes: tuple[str, ...]) -> NDArray[np.float64] | None:
    if not saved.prevalence:
        return None
    if set(saved.prevalence) != set(classes):
        raise InputError(
            f"expected the prevalence of {', '.join(classes)}, got that of {', '.join(saved.prevalence)} in "
            f"{ENSEMBLE_FILE}; {saved.AGAIN}"
        )
    return np.array([saved.prevalence[name] for name in classes], np.float64)
