"""The section `[ensemble]` of a study's recipe."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.ensemble.fit import EnsembleConfig
from hemabridge.ensemble.lut_learning import LearnedLutConfig
from hemabridge.ensemble.target_to_source import TargetToSourceConfig


class MembersRecipe(BaseModel):
    """Classifiers of one kind that are trained for an ensemble alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(5, ge=1, description="how many, each from another random start")
    train: ClassifierConfig


class TargetToSourceRecipe(TargetToSourceConfig):
    """Classifiers that learn the target's cells in the source's looks."""

    classifiers: int = Field(2, ge=1, description="how many, each from another random start")
    train: ClassifierConfig


class EnsembleRecipe(EnsembleConfig):
    """Classifiers and re-stainings that agree on one answer; what labels of the source would add to it."""

    translator: bool = Field(True, description="whether the study's translator takes part, with its last tested epoch")
    members: tuple[MembersRecipe, ...] = Field(
        (), description="further classifiers of the target beside the study's; many short trainings beat a long one"
    )
    target_to_source: TargetToSourceRecipe | None = Field(
        None, description="further classifiers, which learn the target's cells in the source's looks"
    )
    self_training_rounds: int = Field(0, ge=0, description="rounds of learning from the steps answers themselves")
    min_confidence: float = Field(
        0.5, ge=0, lt=1, description="self-training learns from answers above this probability"
    )
    learned_lut: LearnedLutConfig | None = Field(
        None,
        description="teach a color table for each of the study's classifiers, which stays as it is, so that it says "
        "what all agree on",
    )
    few_labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="how many labeled cells of the source to learn from, in runs of their own"
    )
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()

    @property
    def trainings(self) -> tuple[ClassifierConfig, ...]:
        """How its own classifiers are trained."""
        looks = () if self.target_to_source is None else (self.target_to_source.train,)
        return (*(kind.train for kind in self.members), *looks)
