"""What the snapshot of a translator says of itself. Reading it needs no PyTorch."""

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
        config: how it was trained.
        seed: of the training.
        source_crop_px: how cells were cut from the files of the site that it re-stains.
        target_crop_px: the same of the site whose appearance it gives.
        seen: SHA-256 of the files that it was trained on.
        sites: the profiles of both sites; None where there were too few images.
        teacher: SHA-256 of the model that a distilled one copies; None otherwise.
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
        """Whether the model was made for any hospital, and measures by itself how far one is from its training."""
        return self.config.model.kind == "target-only"
