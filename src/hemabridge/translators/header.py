"""The header of a translator's snapshot; reading it needs no PyTorch."""

from typing import Final, Literal, TypeAlias

from hemabridge.domain.site_profile import SiteProfiles
from hemabridge.imaging.scale import WrittenCropPx
from hemabridge.training.tensorfile import Header
from hemabridge.translators.config import TranslatorConfig

KIND: Final = "translator"

Direction: TypeAlias = Literal["to_target", "to_source"]


class TranslatorHeader(Header):
    """The header of a translator.

    Attributes:
        config: settings of the model and its training.
        seed: of the training.
        source_crop_px: side of the square around a cell in files of the source site, in pixels, or `whole`.
        target_crop_px: the same for the target site.
        seen: SHA-256 of the files that it was trained on.
        sites: the profiles of both sites; None if there were too few images.
        teacher: SHA-256 of the teacher of a distilled model; None otherwise.
    """

    kind: Literal["translator"] = KIND
    config: TranslatorConfig
    seed: int | None = None
    source_crop_px: WrittenCropPx
    target_crop_px: WrittenCropPx | None = None
    seen: tuple[str, ...] = ()
    sites: SiteProfiles | None = None
    teacher: str | None = None

    @property
    def is_target_only(self) -> bool:
        """Whether the model is trained for any source hospital, and can measure a site's distance from its training."""
        return self.config.model.kind == "target-only"
