"""Settings of a translator and its training. Imports no PyTorch."""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.networks.config import STRIDE
from hemabridge.training.config import OptimizerConfig
from hemabridge.translators.objective_config import CycleGanConfig, ModelConfig

LARGEST_PX: Final = 2048
"""Largest side of a cell: eight times that of the paper. Cells are held in memory, with 12 MB each at this size."""

SMALLEST_VIEW_PX = 8
"""Fewest rows and columns of a crop that training may use."""

Balance = Literal["none", "target", "both"]
"""How cells are drawn: as they come, balanced over the target's classes, or balanced at both sites."""


class WatchdogConfig(BaseModel):
    """Detection of failed trainings, and the reaction to them: section `[translator.watchdog]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_fault: Literal["ignore", "warn", "stop"] = Field(
        "warn", description="warn and continue; or stop: with an error, or with another seed if `restarts` allows it"
    )
    restarts: int = Field(0, ge=0, le=20, description="number of further seeds that are tried before it stops")
    every_images: int | None = Field(
        None, ge=1, description="images between two checks; if not given, 20 checks that are 100 to 1000 images apart"
    )
    cells: int = Field(16, ge=2, le=256, description="cells of the source that are re-stained at each check")
    patience: int = Field(3, ge=1, le=20, description="number of successive checks that must find a fault")

    @model_validator(mode="after")
    def _check_restarts(self) -> Self:
        if self.restarts and self.on_fault != "stop":
            raise ValueError(f'expected on_fault = "stop" with restarts, got {self.on_fault!r}')
        return self


class TranslatorConfig(BaseModel):
    """A translator and its training. The defaults are those of the CycleGAN reference code.

    An epoch has as many images as the larger site. If `epoch_images` is set, the length of a run, its schedule and its
    snapshots do not depend on the number of images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig = CycleGanConfig()
    load_px: int = Field(286, ge=16, le=LARGEST_PX, description="each cell is resized to a square of this side")
    crop_px: int = Field(
        256, ge=16, le=LARGEST_PX, description="side of the random crop in training, and of test cells"
    )
    stride: int = Field(
        1,
        ge=1,
        description="training uses only every stride-th row and column of the crop: much faster, and sufficient for "
        "generators and discriminators of single pixels",
    )
    batch_size: int = Field(1, ge=1, le=4096)
    balance: Balance = Field(
        "none",
        exclude_if=lambda balance: balance == "none",
        description="target: its classes are drawn equally often; both: also clusters of source cells, found without "
        "labels; none: all cells are drawn equally often",
    )
    learning_rate: float = Field(2e-4, gt=0)
    epoch_images: int | None = Field(None, ge=1, description="images per epoch; number of the larger site if not given")
    constant_epochs: int = Field(100, ge=0, description="epochs at the full learning rate")
    decay_epochs: int = Field(100, ge=0, description="epochs of linear decay after them")
    stepping: Literal["reference", "corrected"] = Field(
        "reference",
        description="reference: the rate falls one epoch early, as in the reference code of 2020; corrected: on time",
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
        """Return the number of images per epoch for sites of so many images."""
        return self.epoch_images or max(source, target)
