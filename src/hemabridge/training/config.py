"""Settings of the training loop: optimizer, length, snapshots and averaged weights. Imports no PyTorch."""

from pydantic import BaseModel, ConfigDict, Field


class OptimizerConfig(BaseModel):
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019); a decay of 0 is plain Adam."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class LoopConfig(BaseModel):
    """Length of the training, and what is written when; progress is counted in images, not in steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_images: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="images per step, over all processes")
    epoch_images: int = Field(ge=1, description="images per epoch, in schedules and in names of snapshots")
    snapshot_images: tuple[int, ...] = Field(
        (), description="numbers of images after which a snapshot is written; one more is written at the end"
    )
    checkpoint_every_seconds: float = Field(60.0, gt=0, description="a killed run loses at most this much training")
    average_half_life_images: float | None = Field(
        None, gt=0, description="half-life of the moving average of the weights; no average if it is not set"
    )
    log_every_images: int = Field(50, ge=1)
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig()
