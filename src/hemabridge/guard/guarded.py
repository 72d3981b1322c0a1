"""A standardizer with a guard: cells whose morphology it would change are re-stained by a fallback."""

from collections.abc import Callable
from dataclasses import dataclass

from hemabridge.guard.morphology import Morphology, compare
from hemabridge.guard.thresholds import Thresholds
from hemabridge.guard.verdict import Verdicts, verdicts_of
from hemabridge.imaging.standardizer import Standardizer, UInt8Images


@dataclass(frozen=True, eq=False)
class CheckedImages:
    """Re-stained images and their verdicts.

    Attributes:
        images: uint8[N, H, W, 3]; those of refused cells come from the fallback, if there is one.
        verdicts: verdicts on the output of the guarded standardizer, not of the fallback.
        morphology: the measures of each cell.
    """

    images: UInt8Images
    verdicts: Verdicts
    morphology: Morphology


class GuardedStandardizer:
    """Re-stains images by `inner`, and refused cells by `fallback`.

    Without a fallback, refused cells keep the output of `inner`, and are marked by their verdicts only.

    Attributes:
        view: cuts from each image the part that is checked, such as the cell at the scale of the thresholds:
            uint8[N, H, W, 3] to uint8[N, S, S, 3]. None: the whole image.
    """

    def __init__(
        self,
        inner: Standardizer,
        thresholds: Thresholds,
        fallback: Standardizer | None = None,
        view: Callable[[UInt8Images], UInt8Images] | None = None,
    ) -> None:
        self.inner = inner
        self.thresholds = thresholds
        self.fallback = fallback
        self.view = view

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Return uint8[N, H, W, 3] re-stained copies of uint8[N, H, W, 3] RGB images."""
        return self.checked(images).images

    def checked(self, images: UInt8Images) -> CheckedImages:
        """Re-stain uint8[N, H, W, 3] and check the morphology of each cell."""
        restained = self.inner.standardize(images)
        seen = (images, restained) if self.view is None else (self.view(images), self.view(restained))
        morphology = compare(*seen)
        verdicts = verdicts_of(morphology, self.thresholds)
        if self.fallback is not None and verdicts.refused.any():
            restained = restained.copy()
            restained[verdicts.refused] = self.fallback.standardize(images[verdicts.refused])
        return CheckedImages(restained, verdicts, morphology)
