"""Settings of the rare-class learning curve: section `[learning_curve]` of a synthesis recipe."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
from hemabridge.synthesis.learning_curve import ARMS
from hemabridge.translators.config import TranslatorConfig, WatchdogConfig
from hemabridge.translators.objective_config import AugmentationConfig, CycleGanConfig


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or list(values) != sorted(set(values)):
        raise ValueError(f"expected different numbers in ascending order, got {list(values)}")
    return values


def _known(arms: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or "nothing" not in arms or len(set(arms)) < len(arms):
        raise ValueError(f"expected some of {', '.join(ARMS)}, each once and nothing among them, got {list(arms)}")
    return arms


SMALL_GENERATOR = TranslatorConfig(
    model=CycleGanConfig(
        generator=ResnetGeneratorConfig(channels=16, blocks=4, upsampling="nearest"),
        discriminator=PatchDiscriminatorConfig(channels=16, layers=3, norm="none"),
        cycle_weight=5.0,
        identity_weight=0.0,
        augmentation=AugmentationConfig(),
    ),
    load_px=72,
    crop_px=64,
    learning_rate=4e-4,
    epoch_images=300,
    constant_epochs=3,
    decay_epochs=2,
    stepping="corrected",
    snapshot_every_epochs=5,
    average_half_life_images=150,
    watchdog=WatchdogConfig(on_fault="ignore"),
)
"""A generator trained on 1,500 images, in about 90 seconds on one core; fifteen of them are trained."""

MILD = StainAugmentationConfig(stain=0.1, blur=0.0, blurred=0.0, noise=0.0, zoom=0.0)
"""The augmentation of the arm `augmented`: turns by right angles, mirroring, shifts, and color jitter of a few percent.

No interpolation is used, because a network trained on smoothed cells takes sharp test cells for granular ones.
"""


class LearningCurveRecipe(BaseModel):
    """The rare-class learning curve: few real cells of one class, all cells of the others, and one change in each arm.

    All classifiers are trained on the same number of images. With one seed, all arms use the same real cells, and a
    smaller number of real cells is a subset of a larger one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rare: str = Field(min_length=1, max_length=80, description="the class with few cells")
    source: str = Field(min_length=1, max_length=80, description="a common class, from which synthetic cells are made")
    real: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_ascending)] = Field(
        (5, 10, 20, 50, 100), description="numbers of real cells of the rare class"
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], AfterValidator(_ascending)] = (0, 1, 2)
    arms: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(
        tuple(ARMS), description="arms, some of: " + "; ".join(f"{arm} ({text})" for arm, text in ARMS.items())
    )
    added: int = Field(150, ge=1, description="synthetic, or further real, cells of the rare class")
    common_cells: int = Field(250, ge=1, description="training cells of each other class, at most")
    test_cells: int = Field(100, ge=5, description="held-out real cells of each class, at most")
    images: int = Field(2000, ge=1, description="images in the training of each classifier")
    classifier: ClassifierConfig = Field(
        ClassifierConfig(size_px=64), description="its augmentation and balance are set by the arms"
    )
    augmentation: StainAugmentationConfig = Field(MILD, description="of the augmented arms")
    generator: TranslatorConfig = Field(
        SMALL_GENERATOR, description="trained on the source class and the few real cells"
    )

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if self.rare == self.source:
            raise ValueError(f"expected a source other than the rare class, got {self.rare!r} for both")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.generator.crop_px != self.classifier.size_px:
            raise ValueError(
                f"expected cells of one size, got generator.crop_px = {self.generator.crop_px} and "
                f"classifier.size_px = {self.classifier.size_px}"
            )
        if self.generator.model.kind != "cyclegan":
            raise ValueError(f'expected generator.model.kind = "cyclegan", got {self.generator.model.kind!r}')
        return self

    @property
    def generator_images(self) -> int:
        """Number of images in the training of each generator."""
        epochs = self.generator.constant_epochs + self.generator.decay_epochs
        return epochs * self.generator.epoch_length(self.common_cells, max(self.real))
