"""The section `[ensemble]` of a study's recipe. Imports no PyTorch."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.normalizers.catalog import NormalizerNames
from hemabridge.normalizers.color_table import NODES

DISTILLATION: Final = SemiSupervisedConfig(images=4000)
"""Length and learning rate of the distillation into a classifier for daily use."""


class MembersConfig(BaseModel):
    """Classifiers of one kind that are trained for the ensemble alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(5, ge=1, le=1000, description="number of classifiers, each with other initial weights")
    train: ClassifierConfig


class LearnedLutConfig(BaseModel):
    """The training of a color table, and its distance from linear optimal transport."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(3840, ge=24, description="images to train on")
    batch_size: int = Field(24, ge=1, le=4096)
    learning_rate: float = Field(0.004, gt=0, description="about the shift of a node in one step, as a share of 0..255")
    points: int = Field(5, ge=2, le=NODES, description="number of movable nodes along each of red, green and blue")
    smoothness: float = Field(
        64.0, ge=0, description="weight of the squared differences between the shifts of neighboring nodes"
    )
    nearness: float = Field(3.0, ge=0, description="weight of the squared shift, as a share of 0..255")


class EnsembleConfig(BaseModel):
    """Classifiers and re-stainings whose predictions are pooled; no label of the source is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: NormalizerNames = Field(
        ("macenko", "vahadane", "linear-ot", "sliced-ot"),
        description="normalizers of the catalog; color members predict from each of them, and from the original cells",
    )
    adabn_rounds: int = Field(
        2,
        ge=0,
        description="times that each member gets batch norm statistics of the source (AdaBN), on cells drawn so that "
        "the ensemble's predicted classes come equally often; 0 uses the target's statistics alone",
    )
    translator: bool = Field(
        True, description="whether the study's translator is one of the re-stainings, with its last tested epoch"
    )
    members: tuple[MembersConfig, ...] = Field(
        (),
        description="further classifiers of the target beside the study's; many short trainings are better than a "
        "long one",
    )
    min_confidence: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="fine-tuning uses the pseudo-labels of cells whose largest probability is above this",
    )
    learned_lut: LearnedLutConfig | None = Field(
        None,
        description="learn a color table for each of the study's classifiers, which stays frozen, so that it predicts "
        "what the ensemble predicts",
    )
    few_labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="how many labeled cells of the source to fine-tune on, in runs of their own"
    )
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()
    distillation: SemiSupervisedConfig | None = Field(
        None,
        exclude_if=lambda config: config is None,  # so that the identity of a study without it stays the same
        description="`evaluate --fit` also distills the ensemble into one classifier for the other hospital, and "
        "averages the predictions of both",
    )

    @property
    def trainings(self) -> tuple[ClassifierConfig, ...]:
        """How the members that are trained for the ensemble alone are trained."""
        return tuple(spec.train for spec in self.members)
