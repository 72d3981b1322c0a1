"""The section `[ensemble]` of a study's recipe. Imports no PyTorch."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.normalizers.by_subdomain import MOST_SUBDOMAINS
from hemabridge.normalizers.catalog import NormalizerNames
from hemabridge.normalizers.color_table import NODES


class MembersConfig(BaseModel):
    """Classifiers of one kind that are trained for the ensemble alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(5, ge=1, le=1000, description="number of classifiers, each with other initial weights")
    train: ClassifierConfig


class TargetToSourceConfig(BaseModel):
    """Target-to-source stain augmentation: members that are trained on target cells in the source's colors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: NormalizerNames = Field(
        ("linear-ot", "sliced-ot", "macenko", "vahadane"), min_length=1, description="normalizers of the catalog"
    )
    subdomains: int = Field(3, ge=1, le=20, description="largest number of subdomains of the source")
    copies: int = Field(
        3, ge=1, le=20, description="number of re-stained copies of each target cell, beside the original"
    )
    classifiers: int = Field(2, ge=1, le=1000, description="number of classifiers, each with other initial weights")
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

    restainings: NormalizerNames | None = Field(
        None,
        min_length=1,
        description="normalizers of the catalog to try; if not given, eight if shape members can rank them, else four",
    )
    max_agreement_gap: float | None = Field(
        0.02,
        ge=0,
        description="a re-staining is used if its soft agreement with the shape members is at most this much below "
        "that of the best one; all are used if there is no bound",
    )
    max_confidence_gap: float | None = Field(
        0.1,
        ge=0,
        description="the shape members are used if their confidence, the mean over cells of the largest probability, "
        "is at most this much below that of the color members on their most confident re-staining; without shape "
        "members the same holds for each re-staining; all are used if there is no bound",
    )
    adabn_min_gain: float | None = Field(
        0.05,
        ge=-1,
        le=1,
        description="the shape members use batch norm statistics of the source (AdaBN) if the share of cells of which "
        "they then predict the same class as the color members grows by more than this; -1 for always, no bound for "
        "never",
    )
    subdomains: int = Field(
        3,
        ge=1,
        le=MOST_SUBDOMAINS,
        description="largest number of subdomains of the source, by the color of the empty field, if there are shape "
        "members and the colors differ clearly; each subdomain gets re-stainings of its own",
    )
    prior_rounds: int = Field(
        2,
        ge=0,
        description="how often re-stainings are fitted again to target images drawn with the source's class prior",
    )
    translator: bool = Field(
        True, description="whether the study's translator is one of the re-stainings, with its last tested epoch"
    )
    members: tuple[MembersConfig, ...] = Field(
        (),
        description="further classifiers of the target beside those of the study; many short trainings are better than "
        "a long one",
    )
    target_to_source: TargetToSourceConfig | None = Field(
        None, description="further members, trained on the target's cells in the source's colors"
    )
    self_training_rounds: int = Field(
        0, ge=0, description="rounds of fine-tuning every member on the ensemble's own pseudo-labels"
    )
    min_confidence: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="fine-tuning uses the pseudo-labels of cells whose largest probability is above this",
    )
    learned_lut: LearnedLutConfig | None = Field(
        None,
        description="learn a color table for each of the study's classifiers, which stay frozen, so that they predict "
        "what the ensemble predicts",
    )
    few_labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="numbers of labeled cells of the source to fine-tune on, each in a run of its own"
    )
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()

    @property
    def trainings(self) -> tuple[ClassifierConfig, ...]:
        """The settings of all members that are trained for the ensemble alone."""
        augmented = () if self.target_to_source is None else (self.target_to_source.train,)
        return (*(spec.train for spec in self.members), *augmented)
