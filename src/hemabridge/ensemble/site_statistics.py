"""The members' batch norm statistics of a source site (AdaBN), in memory and as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field
from torch import Tensor

from hemabridge.classifiers.adabn import statistics_of, with_statistics
from hemabridge.classifiers.protocol import Classifier
from hemabridge.training.tensorfile import Header, read_tensors, write_tensors

SHAPE: Final = "shape"
"""Stands for the shape members among the names of the images from which members predict."""


class SiteStatisticsHeader(Header):
    """The header of the file."""

    kind: Literal["site-statistics"] = "site-statistics"
    weight: float = Field(ge=0, le=1)


@dataclass(frozen=True, eq=False)
class SiteStatistics:
    """The members of an ensemble with batch norm statistics of the source, in the order of the members.

    A member without batch norm, such as an ONNX file, is in its place as it is.

    Attributes:
        color: the color members for each kind of image from which they predict, by its name.
        shape: the shape members.
        weight: of predictions with these statistics against those with the target's, 0..1.
    """

    color: Mapping[str, Sequence[Classifier]]
    shape: Sequence[Classifier]
    weight: float

    def save(self, path: Path) -> None:
        """Write means and variances of each batch norm layer to a safetensors file."""
        tensors = {
            f"{name}|{place}|{layer}": value
            for name, members in {**self.color, SHAPE: self.shape}.items()
            for place, member in enumerate(members)
            for layer, value in statistics_of(member).items()
        }
        write_tensors(path, tensors, SiteStatisticsHeader(weight=self.weight).model_dump())

    @classmethod
    def load(
        cls, path: Path, images: Sequence[str], color: Sequence[Classifier], shape: Sequence[Classifier]
    ) -> "SiteStatistics":
        """Read what `save` wrote.

        Args:
            path: the file.
            images: the kinds of images from which color members predict.
            color: the color members with their own statistics.
            shape: the shape members likewise.

        Raises:
            ModelError: the file is damaged, or of other members.
        """
        tensors, header = read_tensors(path)
        weight = SiteStatisticsHeader.of(header, path).weight

        def with_own(name: str, members: Sequence[Classifier]) -> tuple[Classifier, ...]:
            return tuple(_with_own(member, f"{name}|{place}|", tensors) for place, member in enumerate(members))

        return cls({name: with_own(name, color) for name in images}, with_own(SHAPE, shape), weight)


def _with_own(member: Classifier, prefix: str, tensors: Mapping[str, Tensor]) -> Classifier:
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return with_statistics(member, own) if statistics_of(member) or own else member
