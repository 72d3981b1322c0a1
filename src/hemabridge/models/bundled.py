"""A bundle as a model: it re-stains, classifies, or does both, and needs no PyTorch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from hemabridge.classifiers.config import ONNX_SUFFIX, ExternalConfig
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.protocol import Classifier
from hemabridge.deployment.bundle import (
    CLASSIFIER_HEADER,
    CLASSIFIER_NETWORK,
    RESTAINER_GUARD,
    RESTAINER_HEADER,
    RESTAINER_JSON,
    RESTAINER_NETWORK,
    Bundle,
    ClassifierPart,
    Manifest,
    RestainerPart,
)
from hemabridge.domain.site_profile import SiteProfile, SiteProfiles
from hemabridge.errors import ModelError
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images
from hemabridge.models.classified import Classification
from hemabridge.models.classifying import ClassifierModel
from hemabridge.models.file import BundledFile, ModelFile
from hemabridge.models.guard_file import Guard
from hemabridge.models.model import Kind, Model, Site
from hemabridge.models.restaining import NormalizerModel, TranslatorModel
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.normalizers.glass import Glass
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.storage.file_kind import FileKind, fault_of
from hemabridge.translators.header import Direction, TranslatorHeader

_BUNDLE: Final = FileKind("a bundle", ModelError, "export it again")


@dataclass(frozen=True, eq=False)
class BundleModel(Model):
    """A bundle.

    Attributes:
        bundle: its entries.
        restainer: the model that re-stains; None if there is none.
        own_classifier: the model that classifies; None if there is none.
    """

    header: Manifest
    bundle: Bundle
    restainer: Model | None
    own_classifier: Model | None

    @property
    def kind(self) -> Kind:
        """`bundle`."""
        return "bundle"

    @property
    def restaining(self) -> Model:
        """The model within it that re-stains.

        Raises:
            ModelError: there is none.
        """
        if self.restainer is None:
            raise ModelError(
                f"expected a bundle with a model that re-stains, got one without: {self.path}; "
                "for classes alone: hemabridge classify BUNDLE FOLDER OUT"
            )
        return self.restainer

    @property
    def classifying(self) -> Model:
        """The model within it that classifies.

        Raises:
            ModelError: there is none.
        """
        if self.own_classifier is None:
            raise ModelError(f"expected a bundle with a classifier, got one without: {self.path}")
        return self.own_classifier

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the sites of the re-stainer's fit; None if it has none."""
        return None if self.restainer is None else self.restainer.profiles

    @property
    def at_home(self) -> tuple[SiteProfile, ...]:
        """The profiles of the re-stainer, or of the classifier if there is none."""
        return self._first.at_home

    @property
    def source_glass(self) -> Glass | None:
        """The color of empty glass of the site that it re-stains; None if unknown."""
        return self._first.source_glass

    @cached_property
    def guard(self) -> Guard | None:
        """The guard of the re-stainer; None if there is none."""
        return None if self.restainer is None else self.restainer.guard

    def crop(self, site: Site = "source", scale: FoundScale | None = None) -> CropSpec | None:
        """Return the crop of the re-stainer, or of the classifier if there is none."""
        return self._first.crop(site, scale)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions of the re-stainer."""
        return self._first.directions

    def standardizer(self) -> Standardizer:
        """Return the standardizer for images of any size, without the guard."""
        return self.restaining.standardizer()

    def cell_standardizer(self, direction: Direction = "to_target") -> Standardizer:
        """Return the standardizer for cells at the size of the training."""
        return self.restaining.cell_standardizer(direction)

    def guarded(self, fallback: Normalizer | Literal["none"] | None = None) -> GuardedStandardizer | None:
        """Return `standardizer` with the guard; None if there is no guard."""
        return self.restaining.guarded(fallback)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.classifying.classes

    @property
    def classifier(self) -> Classifier:
        """The classifier itself, for cells that are cut already; see the crop of `classifying`."""
        return self.classifying.classifier

    def classify(
        self, images: UInt8Images | Iterable[UInt8Image], scales: Sequence[FoundScale | None] | None = None
    ) -> Classification:
        """Classify images of single cells, uint8[H, W, 3] each, of any sizes."""
        return self.classifying.classify(images, scales)

    @property
    def _first(self) -> Model:
        return self.classifying if self.restainer is None else self.restainer


def open_bundle(file: ModelFile, crop_px: int | None = None) -> BundleModel:
    """Open the file of a bundle.

    Args:
        file: its content.
        crop_px: side of the square around a cell in new images, in pixels, for both models; None: that of each model.

    Raises:
        ModelError: it is damaged, or was changed.
    """
    bundle = Bundle.of(file.content, file.path)
    made = bundle.manifest
    restainer = None if made.restainer is None else _restainer(bundle, made.restainer, file, crop_px)
    classifier = None if made.classifier is None else _classifier(bundle, made.classifier, file, crop_px)
    if crop_px is not None:
        restainer, classifier = (None if one is None else one.with_crop(crop_px) for one in (restainer, classifier))
    return BundleModel(file, made, crop_px, bundle, restainer, classifier)


def _restainer(bundle: Bundle, part: RestainerPart, file: ModelFile, crop_px: int | None) -> Model:
    guard = Guard.of_text(bundle.text(RESTAINER_GUARD), file.path) if part.guarded else None
    if guard is not None and guard.model != part.sha256:
        raise ModelError(f"expected the guard of the bundle's model, got that of another: {file.path}; export it again")
    content = RESTAINER_JSON if part.kind == "normalizer" else RESTAINER_NETWORK
    own = BundledFile(file.path, bundle.entries[content], file.sha256, guard)
    crop_px = crop_px or part.crop_px
    if part.kind == "translator":
        return TranslatorModel(
            own, TranslatorHeader.of(_object(bundle, RESTAINER_HEADER, file.path), file.path), crop_px
        )
    try:
        return NormalizerModel(own, normalizer_from_json(bundle.text(RESTAINER_JSON)), crop_px)
    except ModelError as error:
        raise ModelError(f"{error}: {file.path}") from error


def _classifier(bundle: Bundle, part: ClassifierPart, file: ModelFile, crop_px: int | None) -> Model:
    own = BundledFile(file.path, bundle.entries[CLASSIFIER_NETWORK], file.sha256)
    table = _object(bundle, CLASSIFIER_HEADER, file.path)
    header = ClassifierHeader.of(table, file.path) if part.kind == "snapshot" else _external(table, file.path)
    return ClassifierModel(own, header, crop_px or part.crop_px)


def _external(table: dict[str, object], path: Path) -> ExternalConfig:
    try:
        return ExternalConfig.model_validate({**table, "file": path.with_suffix(ONNX_SUFFIX)})
    except ValidationError as error:
        found = fault_of(error)
        raise ModelError(f"expected the description of a classifier in {path}, got another in {found}") from error


def _object(bundle: Bundle, name: str, path: Path) -> dict[str, object]:
    return _BUNDLE.parse_object(bundle.text(name), f"{path}, entry {name}")
