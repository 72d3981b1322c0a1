"""The recipe of `hemabridge synthesize`: pairs of classes of one site."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.recipes.learning_curve import LearningCurveRecipe
from hemabridge.recipes.recipe import ClassNames, Parts, SiteRecipe
from hemabridge.storage.files import folder_name
from hemabridge.storage.settings_file import RunName, Seed
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.presets import PRESETS


class SimulatedSite(BaseModel):
    """A simulated hospital, in the place of real images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hospital: str = Field("clinic-like", description="one of the simulated hospitals")
    n_per_class: int = Field(400, ge=10, description="cells of each class")
    size_px: int = Field(96, ge=16, le=1024, description="side of the pictures")
    seed: Seed = 0


class PairRecipe(BaseModel):
    """Two classes that are translated into each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1, max_length=80)
    target: str = Field(min_length=1, max_length=80)

    @property
    def name(self) -> str:
        """The pair's name and folder."""
        return f"{folder_name(self.source)}-{folder_name(self.target)}"

    @model_validator(mode="after")
    def _check_two(self) -> Self:
        if not folder_name(self.source) or not folder_name(self.target) or self.source == self.target:
            raise ValueError(f"expected two different classes, got {self.source!r} and {self.target!r}")
        return self


class SynthesisRecipe(BaseModel):
    """`hemabridge synthesize`: Block 3 of the paper, for any pairs of classes of one site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["synthesis"]
    name: RunName
    seed: Seed = 0
    site: SiteRecipe | None = Field(None, description="the images of one hospital")
    simulate: SimulatedSite | None = Field(None, description="a simulated hospital instead")
    merged: dict[str, ClassNames] = Field(
        {}, description="classes of the site that count as one, by the name that they get, such as those of neutrophils"
    )
    parts: Parts = {"train": 0.7, "validation": 0.1, "test": 0.2}
    pairs: Annotated[tuple[PairRecipe, ...], Field(min_length=1)]
    translator: TranslatorConfig = PRESETS["synthesis-cpu"].config
    scorer: ClassifierConfig = Field(
        ClassifierConfig(), description="learns the two classes of a pair, and scores what the pair makes of them"
    )
    second: ClassifierConfig = Field(
        ClassifierConfig(), description="learns all classes of the recipe, and chooses the snapshot; it does not score"
    )
    learning_curve: LearningCurveRecipe | None = Field(
        None, description="the rare-class learning curve; not measured if not given"
    )
    shown_cells: int = Field(8, ge=1, le=50, description="cells of each direction in the report")
    shown_snapshots: int = Field(4, ge=1, le=50, description="snapshots of each pair in the report, at most")

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the pairs, in the order of the recipe."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in (pair.source, pair.target)))

    @property
    def size_px(self) -> int:
        """Side of the cells that are translated and scored."""
        return self.translator.crop_px

    @model_validator(mode="after")
    def _check_site(self) -> Self:
        if (self.site is None) == (self.simulate is None):
            raise ValueError("expected either site or simulate")
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if set(self.parts) != {"train", "validation", "test"}:
            raise ValueError(f"expected the parts train, validation and test, got {', '.join(self.parts)}")
        return self

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        names = [pair.name for pair in self.pairs]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each pair once, got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _check_merged(self) -> Self:
        merged = [name for names in self.merged.values() for name in names]
        if len(set(merged)) < len(merged):
            raise ValueError(f"expected each class to be merged into one other, got {', '.join(merged)}")
        return self

    @model_validator(mode="after")
    def _check_learning_curve(self) -> Self:
        wanted = () if self.learning_curve is None else (self.learning_curve.rare, self.learning_curve.source)
        missing = [name for name in wanted if name not in self.classes]
        if missing:
            raise ValueError(
                f"expected learning_curve.rare and learning_curve.source among the classes of the pairs "
                f"({', '.join(self.classes)}), got {', '.join(missing)}"
            )
        return self

    @model_validator(mode="after")
    def _check_both_directions(self) -> Self:
        if self.translator.model.kind != "cyclegan":
            raise ValueError(
                f'expected translator.model.kind = "cyclegan", which learns both directions, got '
                f"{self.translator.model.kind!r}"
            )
        return self
