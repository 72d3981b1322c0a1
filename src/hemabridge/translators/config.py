"""How a translator is trained; the presets."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.networks.bilateral_grid import BilateralGridConfig
from hemabridge.networks.color_lut import ColorTableConfig
from hemabridge.networks.discriminators import PixelDiscriminatorConfig
from hemabridge.networks.generators import GeneratorConfig
from hemabridge.networks.patch_discriminator import PatchDiscriminatorConfig
from hemabridge.networks.pixel_network import PixelNetworkConfig
from hemabridge.networks.resnet_generator import STRIDE, ResnetGeneratorConfig
from hemabridge.training.engine import OptimizerConfig
from hemabridge.translators.balance import Balance
from hemabridge.translators.catalog import ModelConfig
from hemabridge.translators.colorization_config import (
    SMALL_COLORIZATION,
    SMALL_GRAY_THEN_COLOR,
    ColorizationConfig,
)
from hemabridge.translators.contrastive import FASTCUT, SMALL_CUT, ContrastiveConfig
from hemabridge.translators.cyclegan import CycleGanConfig
from hemabridge.translators.distillation import DistillationConfig
from hemabridge.translators.target_only_config import TargetOnlyConfig
from hemabridge.translators.watchdog_config import WatchdogConfig

SMALLEST_VIEW_PX = 8
"""Fewer rows and columns than this of a crop say too little of it."""


class TranslatorConfig(BaseModel):
    """A translator and its training. The defaults are the reference recipe of CycleGAN to the letter.

    An epoch is as long as the larger site unless `epoch_images` says otherwise, which makes the length of a run, its
    schedule and its snapshots independent of how many images there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig = CycleGanConfig()
    load_px: int = Field(286, ge=16, description="each cell is resized to a square of this side")
    crop_px: int = Field(256, ge=16, description="side of the random crop that training sees, and of test images")
    stride: int = Field(
        1,
        ge=1,
        description="training sees every so many-th row and column of the crop: much faster, and enough for generators "
        "and discriminators that look at single pixels",
    )
    batch_size: int = Field(1, ge=1)
    balance: Balance = Field(
        "none",
        exclude_if=lambda balance: balance == "none",
        description="target: its classes are shown equally often; both: also kinds of source cells, found without "
        "labels; none: cells as often as they come",
    )
    learning_rate: float = Field(2e-4, gt=0)
    epoch_images: int | None = Field(None, ge=1, description="images an epoch; the larger site's number if not given")
    constant_epochs: int = Field(100, ge=0, description="epochs at the full learning rate")
    decay_epochs: int = Field(100, ge=0, description="epochs of linear decay after them")
    stepping: Literal["reference", "corrected"] = Field(
        "reference",
        description="whether the rate is lowered one epoch early, as the reference of 2020 does, or on time",
    )
    snapshot_every_epochs: int = Field(5, ge=1)
    snapshot_images: tuple[int, ...] = Field((), description="further snapshots, after so many images")
    average_half_life_images: float | None = Field(None, gt=0, description="moving average of the generators' weights")
    optimizer: OptimizerConfig = OptimizerConfig(beta1=0.5)
    watchdog: WatchdogConfig = WatchdogConfig()

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.crop_px > self.load_px:
            raise ValueError(f"expected crop_px <= load_px, got crop_px {self.crop_px} and load_px {self.load_px}")
        if self.crop_px % STRIDE:
            raise ValueError(f"expected crop_px to be a multiple of {STRIDE}, got {self.crop_px}")
        if self.crop_px // self.stride < SMALLEST_VIEW_PX:
            raise ValueError(
                f"expected a stride that leaves {SMALLEST_VIEW_PX} px of the crop, got crop_px {self.crop_px} and "
                f"stride {self.stride}"
            )
        return self

    def epoch_length(self, source: int, target: int) -> int:
        """Return the images of an epoch for sites of so many images."""
        return self.epoch_images or max(source, target)


SMALL_TRAINING = TranslatorConfig(
    load_px=72,
    crop_px=64,
    batch_size=8,
    learning_rate=4e-4,
    epoch_images=500,
    constant_epochs=10,
    decay_epochs=10,
    stepping="corrected",
    average_half_life_images=400,
)
"""How the small models of colorization are trained: 10,000 images."""


def _color_training(generator: GeneratorConfig, epochs: int) -> TranslatorConfig:
    """Train a generator of colors: 25 steps an epoch, each of 64 whole cells at every eighth row and column.

    Many cells a step matter more than many pixels, because few cells hold another mix of colors than their site does.
    Generators that see the whole image train for half as long: later they learn which cell a site shows more often.
    """
    return TranslatorConfig(
        model=CycleGanConfig(
            generator=generator,
            discriminator=PixelDiscriminatorConfig(),
            transport_weight=2.0,
            cycle_weight=0.1,
            identity_weight=0.1,
        ),
        load_px=96,
        crop_px=96,
        stride=8,
        batch_size=64,
        learning_rate=1e-2,
        epoch_images=1600,
        constant_epochs=epochs // 2,
        decay_epochs=epochs // 2,
        stepping="corrected",
        snapshot_every_epochs=5,
        average_half_life_images=1500,
    )


PRESETS: dict[str, TranslatorConfig] = {
    "pixel": _color_training(PixelNetworkConfig(), epochs=20),
    "film": _color_training(PixelNetworkConfig(conditioned=True), epochs=10),
    "lut": _color_training(ColorTableConfig(), epochs=10),
    "bilateral": _color_training(BilateralGridConfig(), epochs=10),
    "paper-cyclegan": TranslatorConfig(),
    "cyclegan-cpu": TranslatorConfig(
        model=CycleGanConfig(
            generator=ResnetGeneratorConfig(channels=24, blocks=6),
            discriminator=PatchDiscriminatorConfig(channels=32, layers=3),
        ),
        load_px=108,
        crop_px=96,
        epoch_images=250,
        constant_epochs=12,
        decay_epochs=12,
        stepping="corrected",
        snapshot_every_epochs=2,
        average_half_life_images=200,
    ),
    "cyclegan-demo": TranslatorConfig(
        model=CycleGanConfig(
            generator=ResnetGeneratorConfig(channels=16, blocks=4),
            discriminator=PatchDiscriminatorConfig(channels=16, layers=2),
        ),
        load_px=72,
        crop_px=64,
        epoch_images=200,
        constant_epochs=3,
        decay_epochs=3,
        stepping="corrected",
        snapshot_every_epochs=2,
        average_half_life_images=100,
    ),
    "cyclegan-resize": TranslatorConfig(
        model=CycleGanConfig(
            generator=ResnetGeneratorConfig(channels=16, blocks=4, upsampling="nearest"),
            discriminator=PatchDiscriminatorConfig(channels=16, layers=2, norm="none"),
        ),
        load_px=72,
        crop_px=64,
        epoch_images=200,
        constant_epochs=2,
        decay_epochs=1,
        stepping="corrected",
        snapshot_every_epochs=1,
        average_half_life_images=100,
    ),
    "synthesis-cpu": TranslatorConfig(
        model=CycleGanConfig(
            generator=ResnetGeneratorConfig(channels=16, blocks=4, upsampling="nearest"),
            discriminator=PatchDiscriminatorConfig(channels=16, layers=3, norm="none"),
            cycle_weight=5.0,
            identity_weight=0.0,
        ),
        load_px=72,
        crop_px=64,
        learning_rate=4e-4,
        epoch_images=500,
        constant_epochs=6,
        decay_epochs=4,
        stepping="corrected",
        snapshot_every_epochs=2,
        average_half_life_images=300,
        watchdog=WatchdogConfig(on_fault="ignore"),
    ),
    "paper-cut": TranslatorConfig(
        model=ContrastiveConfig(), constant_epochs=200, decay_epochs=200, stepping="corrected"
    ),
    "paper-fastcut": TranslatorConfig(model=FASTCUT, constant_epochs=150, decay_epochs=50, stepping="corrected"),
    "cut-cpu": TranslatorConfig(
        model=SMALL_CUT,
        load_px=72,
        crop_px=64,
        epoch_images=100,
        constant_epochs=3,
        decay_epochs=3,
        stepping="corrected",
        snapshot_every_epochs=2,
        average_half_life_images=100,
    ),
    "paper-colorization": TranslatorConfig(model=ColorizationConfig()),
    "colorization-cpu": SMALL_TRAINING.model_copy(update={"model": SMALL_COLORIZATION}),
    "gray-then-color": SMALL_TRAINING.model_copy(update={"model": SMALL_GRAY_THEN_COLOR}),
    "target-only": TranslatorConfig(
        model=TargetOnlyConfig(),
        load_px=96,
        crop_px=96,
        learning_rate=3e-3,
        epoch_images=100,
        constant_epochs=4,
        decay_epochs=16,
        stepping="corrected",
        snapshot_every_epochs=20,
        average_half_life_images=50,
        optimizer=OptimizerConfig(beta2=0.99, weight_decay=0.01),
    ),
    "distillation": TranslatorConfig(
        model=DistillationConfig(),
        load_px=96,
        crop_px=48,
        batch_size=8,
        learning_rate=5e-3,
        epoch_images=500,
        constant_epochs=4,
        decay_epochs=16,
        stepping="corrected",
        snapshot_every_epochs=10,
        average_half_life_images=400,
        optimizer=OptimizerConfig(),
    ),
}
"""By name: the paper's own recipe; one that two cores finish in about half an hour; a small one for the demo."""


def check_presets(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names if they are different presets that learn from two sites; for the validators of settings.

    Raises:
        ValueError: They are not.
    """
    known = [name for name, config in PRESETS.items() if not isinstance(config.model, DistillationConfig)]
    if len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"expected different presets out of {', '.join(known)}, got {', '.join(names)}")
    return names
