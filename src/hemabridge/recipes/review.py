"""The recipe of a review: arms, questions, numbers of cells and readers."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from hemabridge.errors import RecipeError
from hemabridge.recipes.recipe import StatedCropPx
from hemabridge.review.drawn_sample import TaskPlan
from hemabridge.review.records import Question
from hemabridge.storage.settings_file import RecipePath, RunName, Seed, each_once, explain, read_toml

KIND = "review"

Text = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
Names = Annotated[tuple[Text, ...], AfterValidator(each_once)]


class ArmFolder(BaseModel):
    """A folder of images as one arm of a review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text = Field(description="the arm's name in the results; no reader sees it")
    folder: RecipePath = Field(description="folder of images; it is indexed if it has no manifest.csv")
    manifest: RecipePath | None = Field(
        None, description="a manifest in another folder; its paths are relative to `folder`"
    )
    of: Text | None = Field(
        None, description="the arm whose photographs were re-stained; files are matched by name without suffix"
    )
    crop_px: StatedCropPx | None = Field(
        None, description="side of the square around a cell; if not given, that of the manifest, or the whole image"
    )


class ReviewPlan(BaseModel):
    """The recipe of `hemabridge review create`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["review"]
    name: RunName
    title: Text = Field("Blood cells", description="heading of the readers' pages; it must not reveal what is compared")
    readers: Names = Field(min_length=1, max_length=200)
    language: Literal["en", "es"] = Field("en", description="of the pages, until a reader changes it")
    seed: Seed = 0
    study: RecipePath | None = Field(None, description="folder of a finished study that provides arms")
    study_arms: Names = Field(
        (),
        description="arms of the study: original, target, normalizers, snapshots; if not given, the first two and the "
        "chosen (else the last) snapshot",
    )
    arms: tuple[ArmFolder, ...] = ()
    tasks: tuple[TaskPlan, ...] = Field(min_length=1, max_length=20)
    home: Text | None = Field(None, description="name of the readers' own laboratory, for the buttons")
    cell_types: Names = Field((), description="answers to cell_type; all types in the arms if not given")
    apart: int = Field(10, ge=1, le=200, description="screens between two showings of one cell, if that is possible")
    break_every: int = Field(50, ge=5, le=1000, description="screens after which a break is proposed")
    size_px: int | None = Field(
        None, ge=16, le=1024, description="side to which all pictures are resized; that of the smallest if not given"
    )
    address: str = Field(
        "http://127.0.0.1:8321",
        pattern=r"^https?://[\w.:\[\]-]+/?$",
        max_length=200,
        description="beginning of the readers' links",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.study is None and not self.arms:
            raise ValueError("expected a study, or arms")
        if self.study is None and self.study_arms:
            raise ValueError("expected study_arms only beside study")
        names = each_once(tuple(arm.name for arm in self.arms))
        strange = [arm.of for arm in self.arms if arm.of is not None and self.study is None and arm.of not in names]
        if strange:
            raise ValueError(f"expected `of` to name an arm ({', '.join(names)}), got {', '.join(strange)}")
        if len(self.cell_types) == 1:
            raise ValueError("expected at least two cell types")
        return self

    def asks(self, question: Question) -> bool:
        """Return whether any task asks this question."""
        return any(question in task.questions for task in self.tasks)


def read_plan(path: Path) -> ReviewPlan:
    """Read the recipe of a review.

    Raises:
        RecipeError: the file is missing or not TOML, a key is unknown (a similar one is suggested), or a value is
            wrong.
    """
    data = read_toml(path)
    if data.get("kind") != KIND:
        raise RecipeError(f"expected kind = {KIND!r}, got {data.get('kind')!r} in {path}")
    try:
        return ReviewPlan.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(f"{path} cannot be used:\n{explain(error, ReviewPlan)}") from error
