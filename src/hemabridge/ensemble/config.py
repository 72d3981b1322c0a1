"""The section `[agreement]` of a study's recipe."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.semi_supervised import BothSitesConfig
from hemabridge.ensemble.fit import AgreementConfig
from hemabridge.ensemble.lut_learning import TaughtTableConfig
from hemabridge.ensemble.target_to_source import SourceLooksConfig


class MembersRecipe(BaseModel):
    """Classifiers of one kind that are trained for an agreement alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(5, ge=1, description="how many, each from another random start")
    train: ClassifierConfig


class SourceLooksRecipe(SourceLooksConfig):
    """Classifiers that learn the target's cells in the source's looks."""

    classifiers: int = Field(2, ge=1, description="how many, each from another random start")
    train: ClassifierConfig


class AgreementRecipe(AgreementConfig):
    """Classifiers and re-stainings that agree on one answer; what labels of the source would add to it."""

    translator: bool = Field(True, description="whether the study's translator takes part, with its last tested epoch")
    members: tuple[MembersRecipe, ...] = Field(
        (), description="further classifiers of the target beside the study's; many short trainings beat a long one"
    )
    source_looks: SourceLooksRecipe | None = Field(
        None, description="further classifiers, which learn the target's cells in the source's looks"
    )
    self_training_rounds: int = Field(0, ge=0, description="rounds of learning from the agreeing answers themselves")
    sure: float = Field(0.5, ge=0, lt=1, description="self-training learns from answers above this probability")
    taught_table: TaughtTableConfig | None = Field(
        None,
        description="teach a colour table for each of the study's classifiers, which stays as it is, so that it says "
        "what all agree on",
    )
    few_labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="how many labelled cells of the source to learn from, in runs of their own"
    )
    both_sites: BothSitesConfig = BothSitesConfig()

    @property
    def trainings(self) -> tuple[ClassifierConfig, ...]:
        """How its own classifiers are trained."""
        looks = () if self.source_looks is None else (self.source_looks.train,)
        return (*(kind.train for kind in self.members), *looks)
