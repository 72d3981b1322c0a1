"""Standardizers for images that state their scale, as crops of `hemabridge find` do."""

from typing import Final, Literal

from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.kept import Kept
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.models.model import Model
from hemabridge.normalizers.normalizer import Normalizer

SCALES: Final = 16
"""Number of scales for which standardizers are kept; the fields of one microscope have one."""


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
