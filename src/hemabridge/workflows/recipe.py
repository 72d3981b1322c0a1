"""Recipes: one TOML file says all of a run. The only place that sees the whole tree of settings."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from hemabridge.adaptation.agreement import AgreementConfig
from hemabridge.classifiers.both_sites import BothSitesConfig
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.external import ExternalConfig
from hemabridge.errors import RecipeError
from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.translators.config import PRESETS, TranslatorConfig
from hemabridge.translators.distillation import DistillationConfig
from hemabridge.workflows.stages import folder_name


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).resolve()


def _for_training_and_tests(parts: dict[str, float]) -> dict[str, float]:
    if not {"train", "test"} <= parts.keys():
        raise ValueError("expected at least the parts train and test")
    return parts


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("expected each class once")
    return names


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path in a recipe is relative to the recipe's own folder."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What both NumPy and PyTorch take for a seed."""
ClassNames = Annotated[tuple[str, ...], AfterValidator(_each_once)]
Parts = Annotated[dict[str, float], AfterValidator(_for_training_and_tests)]
"""Which share of a site's cells goes to which part."""
RunName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Letters, digits, hyphens and dots: it is a folder's name too."""


class SiteRecipe(BaseModel):
    """The images of one hospital: a folder with a folder per class, or a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = Field(min_length=1, max_length=80, description="the hospital's name")
    folder: RecipePath | None = Field(None, description="a folder with one folder of images per class")
    manifest: RecipePath | None = Field(None, description="a manifest, as `hemabridge index` writes it")
    root: RecipePath | None = Field(
        None, description="what the manifest's paths are relative to; its folder if not given"
    )
    crop_px: Annotated[int, Field(ge=8)] | Literal["whole"] | None = Field(
        None,
        description="side of the square around a cell; 'whole' squeezes whole images, as the paper does; estimated if "
        "not given",
    )

    @model_validator(mode="after")
    def _check_one_origin(self) -> Self:
        if (self.folder is None) == (self.manifest is None):
            raise ValueError("expected either folder or manifest")
        return self


class ClassifierRecipe(BaseModel):
    """A classifier of the study: one that it fine-tunes on the target site, or one that comes as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80, pattern=r"^[\w .()+-]+$", description="its name in the tables")
    train: ClassifierConfig | None = None
    external: ExternalConfig | None = None

    @model_validator(mode="after")
    def _check_one_kind(self) -> Self:
        if (self.train is None) == (self.external is None):
            raise ValueError("expected either train or external")
        return self


class AgainRecipe(BaseModel):
    """The second fine-tuning, on the labelled training part of the source site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(15, ge=1)
    rate_share: float = Field(
        0.3, gt=0, le=1, description="peak of its 1cycle schedule, as a share of the first fine-tuning's"
    )


class AgreementRecipe(AgreementConfig):
    """Classifiers and re-stainings that agree on one answer; what labels of the source would add to it."""

    translator: bool = Field(True, description="whether the study's translator takes part, with its last tested epoch")
    self_training_rounds: int = Field(0, ge=0, description="rounds of learning from the agreeing answers themselves")
    sure: float = Field(0.6, ge=0, lt=1, description="self-training learns from answers above this probability")
    few_labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="how many labelled cells of the source to learn from, in runs of their own"
    )
    both_sites: BothSitesConfig = BothSitesConfig()


class TranslatorRecipe(BaseModel):
    """`hemabridge train` of a translator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["translator"]
    name: RunName
    seed: Seed = 0
    source: SiteRecipe
    target: SiteRecipe
    translator: TranslatorConfig = TranslatorConfig()


class DistillationRecipe(BaseModel):
    """`hemabridge train` of a light model that copies a re-stainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["distillation"]
    name: RunName
    seed: Seed = 0
    teacher: RecipePath = Field(description="snapshot of a translator, or the JSON of a normalizer")
    site: SiteRecipe = Field(description="the source site, which the teacher re-stains")
    translator: TranslatorConfig = PRESETS["distillation"]

    @field_validator("translator")
    @classmethod
    def _check_student(cls, value: TranslatorConfig) -> TranslatorConfig:
        if not isinstance(value.model, DistillationConfig):
            raise ValueError(f'expected model.kind = "distillation", got {value.model.kind!r}')
        return value


class ClassifierTrainingRecipe(BaseModel):
    """`hemabridge train` of a classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["classifier"]
    name: RunName
    seed: Seed = 0
    classes: ClassNames = Field((), description="all classes of the site if not given")
    size_px: int = Field(96, ge=16, le=2048)
    site: SiteRecipe
    parts: Parts = {"train": 0.8, "validation": 0.1, "test": 0.1}
    classifier: ClassifierConfig


class StudyRecipe(BaseModel):
    """`hemabridge study`: Blocks 1 and 2 of the paper on two sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["study"]
    name: RunName
    seed: Seed = 0
    classes: ClassNames = Field(
        (), description="classes to tell apart; if not given, all that both sites have enough of"
    )
    mode: Literal["strict", "transductive"] = Field(
        "strict", description="whether the translator is kept from the scored source images, or sees them unlabelled"
    )
    target: SiteRecipe
    source: SiteRecipe
    truth: SiteRecipe | None = Field(
        None, description="the source's cells as the target would show them; simulations only"
    )
    target_parts: Parts = {"train": 0.8, "validation": 0.1, "test": 0.1}
    source_parts: Parts = {"train": 0.5, "test": 0.5}
    translator: TranslatorConfig = TranslatorConfig()
    normalizers: tuple[str, ...] = Field(
        ("white-point", "reinhard-image", "histogram", "macenko"), description="re-stainings without a GAN, to compare"
    )
    tested_epochs: tuple[int, ...] = Field((10, 15, 20, 25, 200), min_length=1, description="the snapshots to test")
    classifiers: tuple[ClassifierRecipe, ...] = Field(min_length=1)
    again: AgainRecipe | None = Field(
        AgainRecipe(), description="the second fine-tuning; leave it out with again = false"
    )

    agreement: AgreementRecipe | None = Field(
        None, description="one more answer, on which all classifiers and several re-stainings agree"
    )

    @field_validator("again", mode="before")
    @classmethod
    def _read_again(cls, value: Any) -> Any:
        return None if value is False else value

    @field_serializer("again")
    def _write_again(self, value: AgainRecipe | None) -> dict[str, Any] | Literal[False]:
        return False if value is None else value.model_dump()  # TOML knows no None

    @model_validator(mode="after")
    def _check_tested_epochs(self) -> Self:
        tested, translator = self.tested_epochs, self.translator
        if len(set(tested)) != len(tested):
            raise ValueError(f"expected each of tested_epochs once, got {list(tested)}")
        last, every = translator.constant_epochs + translator.decay_epochs, translator.snapshot_every_epochs
        epochs = [*range(every, last, every), last]
        missing = [epoch for epoch in tested if epoch not in epochs]
        # Whether snapshots at given numbers of images make whole epochs, only the number of cells tells.
        if missing and not translator.snapshot_images:
            raise ValueError(
                f"expected tested_epochs among the snapshots' epochs {epochs}, got {missing}; "
                "change tested_epochs, or snapshot_every_epochs of the translator"
            )
        return self

    @property
    def size_px(self) -> int:
        """Side of the cells that are re-stained and classified: the size at which the translator learned."""
        return self.translator.crop_px

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        unknown = [name for name in self.normalizers if name not in NORMALIZERS]
        if unknown or len(set(self.normalizers)) < len(self.normalizers):
            raise ValueError(f"expected different normalizers out of {', '.join(NORMALIZERS)}, got {self.normalizers}")
        classifiers = tuple(wish.name for wish in self.classifiers)
        for kind, names in (("sites", (self.source.site, self.target.site)), ("classifiers", classifiers)):
            folders = [folder_name(name) for name in names]
            if len(set(folders)) < len(folders) or "" in folders:
                raise ValueError(
                    f"expected names of {kind} that differ in letters or digits (each gets a folder), got {list(names)}"
                )
        return self


Recipe = TranslatorRecipe | DistillationRecipe | ClassifierTrainingRecipe | StudyRecipe
KINDS: dict[str, type[Recipe]] = {
    "translator": TranslatorRecipe,
    "distillation": DistillationRecipe,
    "classifier": ClassifierTrainingRecipe,
    "study": StudyRecipe,
}
Kind = TypeVar("Kind", TranslatorRecipe, DistillationRecipe, ClassifierTrainingRecipe, StudyRecipe)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply `section.key=value` changes, fill in the translator's preset, and check all of it.

    Raises:
        RecipeError: the file is missing or no TOML, a key is unknown (the nearest is named), or a value is wrong.
    """
    data = _read_toml(path)
    for change in changes:
        _apply(change, data)
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecipeError(f"expected kind = one of {', '.join(map(repr, KINDS))}, got {kind!r} in {path}")
    if isinstance(data.get("translator"), dict):
        data["translator"] = _with_preset(data["translator"])
    try:
        return KINDS[kind].model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(f"{path} cannot be used:\n{_explain(error, KINDS[kind])}") from error


def expect_kind(recipe: Recipe, kind: type[Kind]) -> Kind:
    """Return the recipe if it is of that kind.

    Raises:
        RecipeError: it is of another.
    """
    if not isinstance(recipe, kind):
        raise RecipeError(f"expected a recipe of another kind, got kind = {recipe.kind!r}; see `hemabridge --help`")
    return recipe


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RecipeError(f"expected a recipe, got {'no file' if path.exists() else 'nothing'}: {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"expected TOML, got something else: {path}: {error}") from error


def _apply(change: str, data: dict[str, Any]) -> None:
    keys, equals, value = change.partition("=")
    if not equals:
        raise RecipeError(f"expected --set section.key=value, got {change!r}")
    *sections, key = [part.strip() for part in keys.split(".")]
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise RecipeError(f"expected a section, got a value at {section!r} in --set {change!r}")
    data[key] = _value(value)


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text.strip()
    return found["value"] if len(found) == 1 else text.strip()


def _with_preset(section: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(section)
    name = own.pop("preset", None)
    if name is None:
        return own
    if not isinstance(name, str) or name not in PRESETS:
        raise RecipeError(f"expected a preset of {', '.join(PRESETS)}, got {name!r}{_nearest(str(name), PRESETS)}")
    return _merged(PRESETS[name].model_dump(mode="json"), own)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if nested else value
    return both


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            lines.append(f"  unknown key {place}{_nearest(name, _all_keys(kind) - {name})}")
        else:
            lines.append(f"  {place or 'the recipe'}: {problem['msg']} (got {str(problem['input'])[:80]!r})")
    return "\n".join(lines)


def _all_keys(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}


def _nearest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
