"""The recipes of `hemabridge train`: of a translator, of a distilled model and of a classifier."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.recipes.recipe import ClassNames, Parts, SiteRecipe
from hemabridge.storage.settings_file import RecipePath, RunName, Seed
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import DistillationConfig
from hemabridge.translators.presets import PRESETS


class TranslatorRecipe(BaseModel):
    """The recipe of `hemabridge train` for a translator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["translator"]
    name: RunName
    seed: Seed = 0
    source: SiteRecipe
    target: SiteRecipe
    translator: TranslatorConfig = TranslatorConfig()


class DistillationRecipe(BaseModel):
    """The recipe of `hemabridge train` for a small model that is distilled from a re-stainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["distillation"]
    name: RunName
    seed: Seed = 0
    teacher: RecipePath = Field(description="snapshot of a translator, or the JSON of a normalizer")
    site: SiteRecipe = Field(description="the source site, which the teacher re-stains")
    translator: TranslatorConfig = PRESETS["distillation"].config

    @field_validator("translator")
    @classmethod
    def _check_student(cls, value: TranslatorConfig) -> TranslatorConfig:
        if not isinstance(value.model, DistillationConfig):
            raise ValueError(f'expected model.kind = "distillation", got {value.model.kind!r}')
        return value


class ClassifierTrainingRecipe(BaseModel):
    """The recipe of `hemabridge train` for a classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["classifier"]
    name: RunName
    seed: Seed = 0
    classes: ClassNames = Field((), description="all classes of the site if not given")
    size_px: int = Field(96, ge=16, le=2048)
    site: SiteRecipe
    parts: Parts = {"train": 0.8, "validation": 0.1, "test": 0.1}
    classifier: ClassifierConfig
