"""Models that re-stain: normalizers and translators, under their guard, for images of each scale."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from hemabridge.deployment.runtime import OnnxRestainer
from hemabridge.domain.site_profile import Distance, SiteProfiles
from hemabridge.errors import MissingExtraError, ModelError
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.grayness import GRAY_REMARK, is_gray
from hemabridge.imaging.kept import Kept
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images
from hemabridge.models.model import Kind, Model, Site
from hemabridge.normalizers.glass import Glass
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.normalizers.square import SquareStandardizer, is_remarking
from hemabridge.translators.header import Direction, TranslatorHeader

if TYPE_CHECKING:
    from torch import Tensor

    from hemabridge.translators.neural import NeuralStandardizer

SCALES: Final = 16
"""Number of scales for which standardizers are kept; the fields of one microscope have one."""


@dataclass(frozen=True, eq=False)
class RestainingModel(Model):
    """A model that re-stains by itself; a bundle has one within it."""

    def guarded(self, fallback: Normalizer | Literal["none"] | None = None) -> GuardedStandardizer | None:
        """Return `standardizer` with the guard; None if there is no guard."""
        guard, crop = self.guard, self.crop()
        if guard is None:
            return None
        view = None if crop is None else crop.cut_all
        safer = guard.chosen(fallback)
        if safer is not None and fallback is None and self.source_glass is not None:
            # The guard's fallback was fitted on the target alone; the source's glass is added here.
            safer = safer.model_copy(update={"source_glass": self.source_glass})
        at_cell: Standardizer | None = safer
        if safer is not None and crop is not None:
            at_cell = SquareStandardizer(safer.of_cells(), crop)
        return GuardedStandardizer(self.standardizer(), guard.thresholds, at_cell, view)


@dataclass(frozen=True, eq=False)
class NormalizerModel(RestainingModel):
    """A normalizer, which needs no PyTorch.

    Without a known scale (`Normalizer.cells`) the whole image is measured.
    """

    header: Normalizer

    @property
    def kind(self) -> Kind:
        """`normalizer`."""
        return "normalizer"

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the sites of the fit."""
        return self.header.sites

    @property
    def directions(self) -> tuple[Direction, ...]:
        """`to_target` only."""
        return ("to_target",)

    @property
    def source_glass(self) -> Glass | None:
        """The color of empty glass of the site that it re-stains; None if unknown."""
        return self.header.source_glass or super().source_glass

    def crop(self, site: Site = "source", scale: FoundScale | None = None) -> CropSpec | None:
        """Return the crop of a cell in a site's images, at the size of the fit."""
        cells = self.header.cells
        if cells is None:
            side = self._side(None, scale)
            return None if side is None or side == "whole" else CropSpec(side, side)
        square = self._side(cells.source_crop_px if site == "source" else cells.target_crop_px, scale)
        return None if square is None else CropSpec(square, cells.size_px)

    def standardizer(self) -> Standardizer:
        """Return the standardizer for images of any size; its measures are those of the square around the cell."""
        cells, crop = self.header.of_cells(), self.crop()
        return cells if crop is None else SquareStandardizer(cells, crop)

    def cell_standardizer(self, direction: Direction = "to_target") -> Normalizer:
        """Return the normalizer for cells.

        Raises:
            ModelError: the direction is `to_source`, which normalizers do not have.
        """
        if direction != "to_target":
            raise ModelError(f"expected a model with the direction {direction}, got a normalizer: {self.path}")
        return self.header.of_cells()


@dataclass(frozen=True, eq=False)
class TranslatorModel(RestainingModel):
    """A translator's snapshot.

    Attributes:
        appearance: cells of a site, uint8[N, S, S, 3], whose appearance a target-only model uses; None: that of its
            training.
    """

    header: TranslatorHeader
    appearance: UInt8Images | None = None

    @property
    def kind(self) -> Kind:
        """`translator`."""
        return "translator"

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the sites of the training."""
        return self.header.sites

    @property
    def identity(self) -> str:
        """Identifies the model's results in a log."""
        if self.appearance is None:
            return super().identity
        return f"{super().identity} by the appearance {hashlib.sha256(self.appearance.tobytes()).hexdigest()[:12]}"

    def crop(self, site: Site = "source", scale: FoundScale | None = None) -> CropSpec:
        """Return the crop of a cell in a site's images, at the size of the training."""
        known = self.header.source_crop_px if site == "source" else self.header.target_crop_px
        square = self._side(known, scale)
        if square is None:
            raise ModelError(
                f"expected a snapshot with the crop of the {site}'s cells, got one without: {self.path}; "
                "state the crop (--crop-px)"
            )
        return CropSpec(square, self.header.config.crop_px)

    def standardizer(self) -> Standardizer:
        """Return the standardizer for images of any size, which works at the scale of the cell in their center."""
        return SquareStandardizer(self.cell_standardizer(), self.crop())

    def cell_standardizer(self, direction: Direction = "to_target") -> "NeuralStandardizer | OnnxRestainer":
        """Return the generator of a direction, with the appearance of a site if it was given.

        Raises:
            ModelError: the model does not have this direction, or the file is damaged.
        """
        if self.file.format == "onnx":  # within a bundle
            if direction not in self.directions:
                raise ModelError(f"expected a model with the direction {direction}, got a bundle: {self.path}")
            return OnnxRestainer(self.file.content, self.path)
        found = self._generator(direction)
        if self.appearance is not None:
            from hemabridge.translators.unseen_site import settle

            settle(found, self.appearance, self.path)
        return found

    def distance(self, cells: UInt8Images) -> Distance:
        """Return the distance of a site's cells, uint8[N, S, S, 3], from the training data of a target-only model.

        Raises:
            ModelError: the model is not target-only; use `profiles`.
        """
        from hemabridge.translators.unseen_site import distance_of

        return distance_of(self._generator("to_target"), cells, self.path)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Its directions: `to_target`, and for some models `to_source`."""
        if self.file.format == "onnx":
            return ("to_target",)
        from hemabridge.translators.neural import directions_of

        return directions_of(self._weights())

    def _weights(self) -> "Mapping[str, Tensor]":
        needs_torch()
        from hemabridge.training.snapshots import weights_of
        from hemabridge.training.tensorfile import parse_tensors

        return weights_of(parse_tensors(self.file.content, self.path), self.path)

    def _generator(self, direction: Direction) -> "NeuralStandardizer":
        from hemabridge.translators.neural import NeuralStandardizer

        return NeuralStandardizer.from_tensors(self._weights(), self.header, self.path, direction)


class Standardizers:
    """The standardizers of one model for images of each scale, with its guard if it has one.

    Args:
        model: re-stains.
        fallback: as for `Model.guarded`.

    Raises:
        ModelError: the model's file or its guard is damaged.
    """

    def __init__(self, model: Model, fallback: Normalizer | Literal["none"] | None = None) -> None:
        self._model, self._fallback = model, fallback
        self._own = self._made(model)
        self._kept: Kept[int, Standardizer] = Kept(SCALES)

    def at(self, scale: FoundScale | None) -> Standardizer:
        """Return the standardizer for an image of this scale; None: its file states none."""
        crop = None if scale is None else self._model.crop(scale=scale)
        if crop is None or crop.crop_px == "whole" or self._model.crop_um is None:
            return self._own
        side = crop.crop_px
        return self._kept.get(side, lambda: self._made(self._model.with_crop(side)))

    def _made(self, model: Model) -> Standardizer:
        return model.guarded(self._fallback) or model.standardizer()


def needs_torch() -> None:
    """Check that PyTorch is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("this model needs PyTorch: pip install 'hemabridge[train]'")


def remark_of(standardizer: Standardizer, image: UInt8Image, *, replaced: bool = False) -> str:
    """Return a remark on the re-staining of an image, uint8[H, W, 3]; empty in most cases.

    Args:
        standardizer: the standardizer that re-stained it.
        image: the original.
        replaced: whether the fallback of a guarded standardizer re-stained it.
    """
    return _with_gray(image, _own_remark(standardizer, image, replaced))


def restained_with_remark(standardizer: Standardizer, image: UInt8Image) -> tuple[UInt8Image, str]:
    """Return a re-stained copy of uint8[H, W, 3] and the remark on it, as `remark_of`; the image is measured once."""
    if is_remarking(standardizer):
        made, remark = standardizer.restained(image)
    else:
        made, remark = standardizer.standardize(image[None])[0], ""
    return made, _with_gray(image, remark)


def _with_gray(image: UInt8Image, remark: str) -> str:
    return "; ".join(filter(None, (GRAY_REMARK if is_gray(image) else "", remark)))


def _own_remark(standardizer: Standardizer, image: UInt8Image, replaced: bool) -> str:
    if isinstance(standardizer, GuardedStandardizer):
        used = standardizer.fallback if replaced else standardizer.inner
        return "" if used is None else _own_remark(used, image, replaced=False)
    return standardizer.remark(image) if is_remarking(standardizer) else ""
