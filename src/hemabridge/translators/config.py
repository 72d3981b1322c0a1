"""Settings of a translator and its training. Free of PyTorch."""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.networks.config import STRIDE
from hemabridge.training.config import OptimizerConfig
from hemabridge.translators.objective_config import CycleGanConfig, ModelConfig

LARGEST_PX: Final = 2048
"""Side of a cell, at most: eight times the paper's. Cells are held in memory, 12 MB each at this size."""

SMALLEST_VIEW_PX = 8
"""Fewer rows and columns than this of a crop say too little of it."""

Balance = Literal["none", "target", "both"]
"""Of what each cell is shown equally often: of nothing, of the classes of the target, or of both sites' kinds."""


class WatchdogConfig(BaseModel):
    """What to do when a training fails in a way that can be seen: section `[translator.watchdog]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_fault: Literal["ignore", "warn", "stop"] = Field(
        "warn", description="warn and go on; stop with an error, or with another seed if `restarts` says so"
    )
    restarts: int = Field(
        0, ge=0, le=20, description="how many further seeds are tried, one after the other, before it stops"
    )
    every_images: int | None = Field(
        None, ge=1, description="a check after each so many images; 20 checks, 100 to 1000 images apart, if not given"
    )
    cells: int = Field(16, ge=2, le=256, description="cells of the source that are re-stained at each check")
    patience: int = Field(3, ge=1, le=20, description="a fault counts if so many looks in a row see it")

    @model_validator(mode="after")
    def _check_restarts(self) -> Self:
        if self.restarts and self.on_fault != "stop":
            raise ValueError(f'expected on_fault = "stop" with restarts, got {self.on_fault!r}')
        return self


class TranslatorConfig(BaseModel):
    """A translator and its training. The defaults are the reference recipe of CycleGAN to the letter.

    An epoch is as long as the larger site unless `epoch_images` says otherwise, which makes the length of a run, its
    schedule and its snapshots independent of how many images there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig = CycleGanConfig()
    load_px: int = Field(286, ge=16, le=LARGEST_PX, description="each cell is resized to a square of this side")
    crop_px: int = Field(256, ge=16, le=LARGEST_PX, description="side of training's random crop, and of test images")
    stride: int = Field(
        1,
        ge=1,
        description="training sees every so many-th row and column of the crop: much faster, and enough for generators "
        "and discriminators that look at single pixels",
    )
    batch_size: int = Field(1, ge=1, le=4096)
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
