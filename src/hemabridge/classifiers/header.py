"""What the snapshot of a classifier says of itself. Reading it needs no PyTorch."""

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.domain.site_profile import SiteProfile
from hemabridge.imaging.scale import WrittenCropPx
from hemabridge.training.tensorfile import Header

KIND: Final = "classifier"


class ClassifierHeader(Header):
    """The header of a classifier.

    Attributes:
        config: how it was trained.
        preprocessing: what happens to a cell before the network sees it.
        classes: class names in the order of the outputs.
        crop_px: side of the square around a cell in the files, or `whole`; None where it was not written down.
        cell_px: side of the cells that training was given, before the preprocessing; None where it was not written.
        profiles: the appearance of each set of cells that it was trained on; empty where they were too few, or where it
            was not written.
        learning_rate: peak of the schedule; None where it was not written down.
        seed: of the training.
        seen: SHA-256 of the files that it was trained on.
        cells_sha256: of the cells and labels.
        weights_sha256: of the file from which training started; None without one.
        weights_origin: `repository/file@commit` of that file if it was downloaded; None otherwise.
        start: SHA-256 of the snapshot that semi-supervised fine-tuning went on from; None otherwise.
        semi_supervised: its settings; None otherwise.
    """

    kind: Literal["classifier"] = KIND
    config: ClassifierConfig
    preprocessing: Preprocessing
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    crop_px: WrittenCropPx | None = None
    cell_px: Annotated[int, Field(ge=1)] | None = None
    profiles: tuple[SiteProfile, ...] = ()
    learning_rate: float | None = None
    seed: int | None = None
    seen: tuple[str, ...] = ()
    cells_sha256: str | None = None
    weights_sha256: str | None = None
    weights_origin: str | None = None
    start: str | None = None
    semi_supervised: dict[str, object] | None = None

    @field_validator("config")
    @classmethod
    def _name_no_folder(cls, config: ClassifierConfig) -> ClassifierConfig:
        return config.without_folder()
