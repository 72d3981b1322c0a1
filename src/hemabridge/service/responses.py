"""The answers of the service, and the interface to the models behind it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.progress import Progress
from hemabridge.service.sent import Sent


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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


class SiteVerdict(_Answer):
    """Whether the images of a request, all together, are like those that the model was trained on."""

    answer: Literal["in-distribution", "borderline", "out-of-distribution"]
    text: str
    images: int = Field(description="number of images that were measured")


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
    predicted_class: str | None = Field(description="the most probable class; null if there is no prediction")
    probabilities: tuple[float, ...] | None = Field(description="0 to 1, in the order of the classes")
    reason: str = Field(description="why there is no prediction; empty if there is one")


class Classified(ImageAnswers):
    """The classes of the images, in the order of the request."""

    model: str = Field(description="SHA-256 of the model's file")
    classes: tuple[str, ...]
    site: SiteVerdict | None
    images: tuple[ClassifiedImage, ...]

    def outcomes(self) -> Iterator[str]:
        """Return whether each image was classified."""
        return ("not classified" if image.predicted_class is None else "classified" for image in self.images)


Work: TypeAlias = Callable[[Sequence[Sent], Any, Progress], ImageAnswers]
"""Answers a request: its images, its settings, and what is told after each image, which may raise to stop the work."""


class NoSettings(BaseModel):
    """A request without settings."""


class ImageSettings(BaseModel):
    """The settings of `/v1/standardize`."""

    format: Literal["same", "png"] = Field("same", description="of the re-stained image's file: as it came, or PNG")


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
