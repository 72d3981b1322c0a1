"""Models that re-stain: normalizers and translators."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hemabridge.domain.site_profile import Distance, SiteProfiles
from hemabridge.errors import MissingExtraError, ModelError
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images
from hemabridge.models.model import Kind, Model, Site
from hemabridge.normalizers.glass import Glass
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.normalizers.square import Remarking, SquareStandardizer
from hemabridge.translators.header import Direction, TranslatorHeader

if TYPE_CHECKING:
    from torch import Tensor

    from hemabridge.translators.neural import NeuralStandardizer


@dataclass(frozen=True, eq=False)
class NormalizerModel(Model):
    """A normalizer; it needs no PyTorch.

    Without a known scale (`Normalizer.cells`) an image is measured as a whole.
    """

    header: Normalizer

    @property
    def kind(self) -> Kind:
        """`normalizer`."""
        return "normalizer"

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the sites that it was fitted on."""
        return self.header.sites

    @property
    def directions(self) -> tuple[Direction, ...]:
        """`to_target` alone."""
        return ("to_target",)

    @property
    def source_glass(self) -> Glass | None:
        """The empty glass of the site that it re-stains; None where the file does not tell."""
        return self.header.source_glass or super().source_glass

    def crop(self, site: Site = "source") -> CropSpec | None:
        """Return how a cell is cut from a site's images, as large as those were that it was fitted on."""
        cells = self.header.cells
        if cells is None:
            return None if self.crop_px is None else CropSpec(self.crop_px, self.crop_px)
        square = self.crop_px or (cells.source_crop_px if site == "source" else cells.target_crop_px)
        return None if square is None else CropSpec(square, cells.size_px)

    def standardizer(self) -> Standardizer:
        """Return what re-stains images as large as they come, by what is measured of the cell's square."""
        cells, crop = self.header.of_cells(), self.crop()
        return cells if crop is None else SquareStandardizer(cells, crop)

    def cell_standardizer(self, direction: Direction = "to_target") -> Normalizer:
        """Return the normalizer for cells.

        Raises:
            ModelError: the direction is `to_source`, which no normalizer knows.
        """
        if direction != "to_target":
            raise ModelError(f"expected a model that knows {direction}, got a normalizer: {self.path}")
        return self.header.of_cells()


@dataclass(frozen=True, eq=False)
class TranslatorModel(Model):
    """A translator's snapshot.

    Attributes:
        appearance: cells of a site, uint8[N, S, S, 3], by whose appearance a target-only model re-stains; as it was
            trained if None.
    """

    header: TranslatorHeader
    appearance: UInt8Images | None = None

    @property
    def kind(self) -> Kind:
        """`translator`."""
        return "translator"

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the sites that it was trained on."""
        return self.header.sites

    @property
    def identity(self) -> str:
        """What identifies the model's results in a log."""
        if self.appearance is None:
            return super().identity
        return f"{super().identity} by the appearance {hashlib.sha256(self.appearance.tobytes()).hexdigest()[:12]}"

    def crop(self, site: Site = "source") -> CropSpec:
        """Return how a cell is cut from a site's images, as large as the model saw cells."""
        known = self.header.source_crop_px if site == "source" else self.header.target_crop_px
        square = self.crop_px or known
        if square is None:
            raise ModelError(
                f"expected a snapshot that says how the {site}'s cells were cut, got one without: {self.path}; "
                "state the crop (--crop-px)"
            )
        return CropSpec(square, self.header.config.crop_px)

    def standardizer(self) -> Standardizer:
        """Return what re-stains images as large as they come, by the cell's square in their center."""
        return SquareStandardizer(self.cell_standardizer(), self.crop())

    def cell_standardizer(self, direction: Direction = "to_target") -> "NeuralStandardizer":
        """Return the generator of a direction, by the appearance of a site where that was given."""
        found = self._generator(direction)
        if self.appearance is not None:
            from hemabridge.translators.unseen_site import settle

            settle(found, self.appearance, self.path)
        return found

    def distance(self, cells: UInt8Images) -> Distance:
        """Return how far a site's cells, uint8[N, S, S, 3], are from all that a target-only model has learned from.

        Raises:
            ModelError: it is not target-only, and has no measure but `profiles`.
        """
        from hemabridge.translators.unseen_site import distance_of

        return distance_of(self._generator("to_target"), cells, self.path)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which directions it knows: `to_target`, and `to_source` of some models."""
        from hemabridge.translators.neural import directions_of

        return directions_of(self._weights)

    @cached_property
    def _weights(self) -> "Mapping[str, Tensor]":
        needs_torch()
        from hemabridge.training.snapshots import weights_of
        from hemabridge.training.tensorfile import parse_tensors

        return weights_of(parse_tensors(self.file.content, self.path), self.path)

    def _generator(self, direction: Direction) -> "NeuralStandardizer":
        from hemabridge.translators.neural import NeuralStandardizer

        return NeuralStandardizer.from_tensors(self._weights, self.header, self.path, direction)


def needs_torch() -> None:
    """Make sure that PyTorch is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("this model needs PyTorch: pip install 'hemabridge[train]'")


def remark_of(standardizer: Standardizer, image: UInt8Image, *, replaced: bool = False) -> str:
    """Return what has to be said of how a photograph, uint8[H, W, 3], was re-stained; mostly nothing.

    Args:
        standardizer: that re-stained it.
        image: the original.
        replaced: whether it was the fallback of a guarded standardizer.
    """
    if isinstance(standardizer, GuardedStandardizer):
        used = standardizer.fallback if replaced else standardizer.inner
        return "" if used is None else remark_of(used, image)
    return standardizer.remark(image) if isinstance(standardizer, Remarking) else ""
