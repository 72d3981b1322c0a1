"""The answers of the service, and the interface to the models behind it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.progress import Progress
from hemabridge.service.sent import Sent


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_CAUTIONS: Final[Any] = Field(
    (), description="what `hemabridge adapt` found against the model's classes at this hospital; usually empty"
)


class ImageAnswers(_Answer, ABC):
    """The results for the images of a request."""

    @abstractmethod
    def outcomes(self) -> Iterator[str]:
        """Return what became of each image, for the numbers of the service."""


class Refusal(_Answer):
    """Why there is no answer."""

    error: str = Field(description="what was expected, what came, and what to do")


class State(_Answer):
    """Whether the service works."""

    status: Literal["ok", "ready", "busy"]


_SiteWord: TypeAlias = Literal["in-distribution", "borderline", "out-of-distribution"]


class _Site(Protocol):
    """The attributes of `models.site_answer.SiteAnswer`, whose module can import PyTorch."""

    @property
    def answer(self) -> _SiteWord: ...

    @property
    def text(self) -> str: ...

    @property
    def images(self) -> int: ...


class SiteVerdict(_Answer):
    """Whether the images of a request, all together, are like those that the model was trained on."""

    answer: _SiteWord
    text: str
    images: int = Field(description="number of images that were measured")

    @classmethod
    def of(cls, site: _Site | None) -> Self | None:
        """Return what a model says of the images of a request; None if it says nothing."""
        return None if site is None else cls(answer=site.answer, text=site.text, images=site.images)


class RestainedImage(_Answer):
    """One image; the columns are those of `standardized.csv`."""

    name: str
    status: Literal["restained", "failed"]
    reason: str = Field(description="why there is no image; empty if there is one")
    sha256: str = Field(description="of the file that was sent")
    verdict: str = Field("", description="of the morphology guard: pass, warn, refuse; empty without a guard")
    verdict_reasons: str = ""
    restained_by: str = Field("", description="model, or fallback if the guard refused what the model made")
    output_sha256: str = ""
    remark: str = ""
    media_type: str = ""
    image: str = Field("", description="the file of the re-stained image in base64")


class Standardized(ImageAnswers):
    """The re-stained images, in the order of the request."""

    model: str = Field(description="SHA-256 of the model's file, with what else the result depends on")
    site: SiteVerdict | None
    images: tuple[RestainedImage, ...]

    def outcomes(self) -> Iterator[str]:
        """Return status and verdict of each image."""
        return (f"{image.status} {image.verdict}".strip() for image in self.images)


class ClassifiedImage(_Answer):
    """One image; the columns are those of `predictions.csv`."""

    name: str
    predicted_class: str | None = Field(
        description="the most probable class; `unknown` if the image shows no single leukocyte; null if there is none"
    )
    probabilities: tuple[float, ...] | None = Field(description="0 to 1, in the order of the classes")
    reason: str = Field(description="why there is no class; empty if there is one")


class Classified(ImageAnswers):
    """The classes of the images, in the order of the request."""

    model: str = Field(description="SHA-256 of the model's file")
    classes: tuple[str, ...]
    site: SiteVerdict | None
    cautions: tuple[str, ...] = _CAUTIONS
    images: tuple[ClassifiedImage, ...]

    def outcomes(self) -> Iterator[str]:
        """Return whether each image was classified."""
        return ("not classified" if image.predicted_class is None else "classified" for image in self.images)


class ClassPercentage(_Answer):
    """One class; the columns are those of `differential.csv`, in percent of the counted cells."""

    class_name: str
    cells: int
    percent: float = Field(description="corrected by the classifier's confusion; as counted if that is unknown")
    low: float = Field(description="95 % interval of `percent`")
    high: float
    counted_percent: float = Field(description="as counted")
    counted_low: float = Field(description="exact binomial 95 % limits of `counted_percent`")
    counted_high: float
    of_100_low: float = Field(description="95 % limits of `percent` in a count of 100 cells without any error")
    of_100_high: float
    of_200_low: float = Field(description="the same for 200 cells")
    of_200_high: float


class SearchedField(_Answer):
    """One file; the columns are those of `found/fields.csv`."""

    name: str
    status: str = Field(description="searched: its cells are counted; else why they are not: empty, unreadable, ...")
    reason: str = Field(description="a sentence about that; empty for a searched field")
    remark: str = Field(description="what else to know, such as a rough scale")
    leukocytes: int
    platelets: int
    smudges: int
    red_cells: int | None = Field(description="about how many; null if unknown")
    um_per_px: float | None = Field(description="micrometers per pixel; null if unknown")
    width: int | None = Field(description="in pixels; null if it could not be read")
    height: int | None


class FieldCell(_Answer):
    """One leukocyte; the columns are those of `cells.csv`."""

    image: int = Field(description="place of its field among the images of the request, from 0")
    field: str = Field(description="name of its field")
    x: float = Field(description="center, in pixels of the field")
    y: float
    diameter_um: float = Field(description="of the disc with the area of its nucleus")
    cell_um: float | None = Field(description="of the disc with the area of the whole cell; null if the border cuts it")
    border: bool = Field(description="whether the border of the field cuts it")
    cluster: bool = Field(description="whether it touches another leukocyte")
    left_out: str = Field(description="why it is not counted; empty if it is")
    predicted_class: str
    probability: float = Field(description="of that class, 0 to 1")


class Counted(ImageAnswers):
    """The differential count of the fields of one smear."""

    model: str = Field(description="SHA-256 of the model's file")
    trusted: bool = Field(description="false if the cells are out-of-distribution for the model: check each by eye")
    site: SiteVerdict | None
    cautions: tuple[str, ...] = _CAUTIONS
    counted: int = Field(description="number of cells that are counted")
    confusion_from: str = Field(
        description="the labeled cells whose confusion corrects the percentages; empty: the intervals cover counting "
        "error only"
    )
    classes: tuple[ClassPercentage, ...]
    fields: tuple[SearchedField, ...] = Field(description="in the order of the request")
    cells: tuple[FieldCell, ...] = Field(description="of each field from top to bottom")

    def outcomes(self) -> Iterator[str]:
        """Return the status of each field."""
        return (field.status for field in self.fields)


Work: TypeAlias = Callable[[Sequence[Sent], Any, Progress], ImageAnswers]
"""Answers a request: its images, its settings, and what is told after each image, which may raise to stop the work."""


class NoSettings(BaseModel):
    """A request without settings."""


class ImageSettings(BaseModel):
    """The settings of `/v1/standardize`."""

    format: Literal["same", "png"] = Field("same", description="of the re-stained image's file: as it came, or PNG")


class FieldSettings(BaseModel):
    """The settings of `/v1/differential`."""

    um_per_px: float | None = Field(
        None, ge=0.001, le=10, description="micrometers per pixel of all fields; from their red cells if it is left out"
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the intervals")


@dataclass(frozen=True)
class Operation:
    """One kind of work, at `/v1/NAME`.

    Attributes:
        name: the name.
        summary: what it does, one line.
        settings: the query parameters.
        answer: the answer.
        work: the work; it runs in a thread of its own.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    answer: type[ImageAnswers]
    work: Work


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        operations: all work that the models can do.
        card: the model card, Markdown.
        facts: labels of the metric `hemabridge_info`: version and SHA-256 of the file.
    """

    operations: tuple[Operation, ...]
    card: str
    facts: Mapping[str, str]
