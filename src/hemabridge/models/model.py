"""A model that was opened: what it is, and what it can do. Headers are read at once, weights when they are needed."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from pydantic import BaseModel

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.domain.site_profile import SiteProfiles
from hemabridge.errors import ModelError
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images
from hemabridge.models.file import ModelFile
from hemabridge.models.guard_file import Guard, find_guard
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.translators.header import Direction

Kind: TypeAlias = Literal["normalizer", "translator", "classifier"]

Site: TypeAlias = Literal["source", "target"]


@dataclass(frozen=True, eq=False)
class Classification:
    """What a classifier says of some cells.

    Attributes:
        classes: class names.
        probabilities: float32[N, C], in the order of `classes`; rows sum to 1.
    """

    classes: tuple[str, ...]
    probabilities: Probabilities

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each cell."""
        return tuple(self.classes[place] for place in self.probabilities.argmax(axis=1))


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """Something that re-stains or classifies, from one file that was read once.

    What a kind of model cannot do raises ModelError, which says what was expected.

    Attributes:
        file: the file.
        header: what it says of itself.
        crop_px: side, in pixels, of the square around a cell in the images that come, where it was stated; otherwise
            the model's own.
    """

    file: ModelFile
    header: BaseModel
    crop_px: int | None

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What it is."""

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.file.path

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, 64 lower-case hexadecimal digits."""
        return self.file.sha256

    @property
    def identity(self) -> str:
        """What identifies the model's results in a log: hash, and crop and appearance where they were stated."""
        return self.sha256 + (f" at {self.crop_px} px" if self.crop_px else "")

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the two sites that it was fitted on; None where the file holds none."""
        return None

    @cached_property
    def guard(self) -> Guard | None:
        """The guard beside the file; None where there is none.

        Raises:
            ModelError: it is damaged, or belongs to another model.
        """
        return find_guard(self.path, self.sha256)

    def crop(self, site: Site = "source") -> CropSpec | None:
        """Return how a cell is cut from a site's images, as large as the model saw it; None without a scale."""
        return None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """In which directions it re-stains; none of a classifier.

        Raises:
            ModelError: the file is damaged.
        """
        return ()

    def standardizer(self) -> Standardizer:
        """Return what re-stains images as large as they come, without the guard.

        Raises:
            ModelError: it does not re-stain, or the file is damaged.
        """
        raise self._cannot("re-stains")

    def cell_standardizer(self, direction: Direction = "to_target") -> Standardizer:
        """Return what re-stains cells that are as large as the model saw them; see `crop`.

        Raises:
            ModelError: it does not re-stain, not in this direction, or the file is damaged.
        """
        raise self._cannot("re-stains")

    def guarded(self, fallback: Normalizer | Literal["none"] | None = None) -> GuardedStandardizer | None:
        """Return `standardizer` under the guard; None where there is no guard.

        Args:
            fallback: what re-stains refused cells; the guard's own one if not given; none with `none`.

        Raises:
            ModelError: as `standardizer` and `guard`.
        """
        guard, crop = self.guard, self.crop()
        if guard is None:
            return None
        view = None if crop is None else crop.cut_all
        return GuardedStandardizer(self.standardizer(), guard.thresholds, _chosen(guard, fallback), view)

    def guard_identity(self, fallback: Normalizer | Literal["none"] | None = None) -> str:
        """Return what a log adds to `identity` for guard and fallback; empty without a guard."""
        if self.guard is None:
            return ""
        safer = _chosen(self.guard, fallback)
        text = self.guard.thresholds.to_json() + ("" if safer is None else safer.to_json())
        return f" guarded by {hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3] as `hemabridge standardize` does, under the guard if there is one.

        Each image is re-stained for itself, so that the result does not depend on the images beside it.

        Raises:
            ImageError: an image cannot be re-stained.
            ModelError: as `standardizer` and `guard`.
        """
        used = self._used
        return np.stack([used.standardize(image[None])[0] for image in images]) if len(images) else images.copy()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities.

        Raises:
            ModelError: it does not classify.
        """
        raise self._cannot("classifies")

    @property
    def classifier(self) -> Classifier:
        """The classifier itself, for cells that were cut already; see `crop`.

        Raises:
            ModelError: it does not classify, or the file is damaged.
        """
        raise self._cannot("classifies")

    def classify(self, images: Sequence[UInt8Image] | UInt8Images) -> Classification:
        """Tell the classes of single-cell images, uint8[H, W, 3] each, of any sizes.

        Raises:
            ModelError: as `classifier`.
        """
        raise self._cannot("classifies")

    @cached_property
    def _used(self) -> Standardizer:
        return self.guarded() or self.standardizer()

    def _cannot(self, does: str) -> ModelError:
        article = {"normalizer": "a normalizer", "translator": "a translator", "classifier": "a classifier"}
        return ModelError(f"expected a model that {does}, got {article[self.kind]}: {self.path}")


def _chosen(guard: Guard, fallback: Normalizer | Literal["none"] | None) -> Normalizer | None:
    if fallback is None:
        return guard.normalizer()
    return fallback if isinstance(fallback, Normalizer) else None
