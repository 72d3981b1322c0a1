"""Models that classify: snapshots of `hemabridge train`, and classifiers of other programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.external import OnnxClassifier, load_external
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.protocol import Classifier
from hemabridge.domain.site_profile import SiteProfile
from hemabridge.fields.single_cell import no_single_cell
from hemabridge.imaging.any_image import check_each
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.scale import CropSpec, crop_center
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.models.classified import Classification
from hemabridge.models.model import Kind, Model, Site
from hemabridge.models.restaining import needs_torch


@dataclass(frozen=True, eq=False)
class ClassifierModel(Model):
    """The snapshot of a classifier, or a file of another program with its description, an `ExternalConfig`.

    Within a bundle the network of a snapshot is an ONNX file.
    """

    header: ClassifierHeader | ExternalConfig

    @property
    def kind(self) -> Kind:
        """`classifier`."""
        return "classifier"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.header.classes

    @property
    def at_home(self) -> tuple[SiteProfile, ...]:
        """The profiles of the sites of its training; none for a classifier of another program."""
        return () if isinstance(self.header, ExternalConfig) else self.header.profiles

    def crop(self, site: Site = "source", scale: FoundScale | None = None) -> CropSpec | None:
        """Return the crop of a cell, as in training; None if unknown."""
        if isinstance(self.header, ExternalConfig):
            square = self._side(None, scale)
            return None if square is None else CropSpec(square, self.header.preprocessing.size_px)
        square = self._side(self.header.crop_px, scale)
        return None if square is None else CropSpec(square, self.header.cell_px or self.header.preprocessing.size_px)

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier itself, for cells that are cut already."""
        if isinstance(self.header, ExternalConfig):
            if not self.header.is_onnx:
                needs_torch()
            return load_external(self.header, self.file.content)
        if self.file.format == "onnx":  # within a bundle
            header, content = self.header, self.file.content
            return OnnxClassifier(
                self.path, self.classes, header.preprocessing, "logits", content, mirrored=header.mirrored
            )
        needs_torch()
        from hemabridge.classifiers.classifier import SnapshotClassifier

        return SnapshotClassifier(self.file.content, self.header, self.path, sha256=self.file.sha256)

    def classify(
        self, images: UInt8Images | Iterable[UInt8Image], scales: Sequence[FoundScale | None] | None = None
    ) -> Classification:
        """Classify images of single cells, uint8[H, W, 3] each, of any sizes.

        If no crop is known, the largest central square of each image is classified. An image that shows no single
        leukocyte is `unknown`, if the crop is known in pixels.
        """
        found = list(check_each(images, "images to classify"))
        crops = [self.crop(scale=scale) for scale in scales or [None] * len(found)]
        pairs = list(zip(found, crops, strict=True))
        cells = [crop_center(image, min(image.shape[:2])) if crop is None else crop.cut(image) for image, crop in pairs]
        parts = [
            self.classifier.probabilities(np.stack(list(group))) for _, group in groupby(cells, lambda cell: cell.shape)
        ]
        none = np.empty((0, len(self.classes)), np.float32)
        sides = [None if crop is None else crop.crop_px for crop in crops]
        reasons = tuple(no_single_cell(*each, self.classes) for each in zip(found, sides, strict=True))
        return Classification(self.classes, np.concatenate([none, *parts]), reasons)
