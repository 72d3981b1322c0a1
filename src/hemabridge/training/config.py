"""Settings of the training engine: optimizer, length, snapshots and moving averages. Free of PyTorch."""

from pydantic import BaseModel, ConfigDict, Field


class OptimizerConfig(BaseModel):
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019); 0 decay is plain Adam."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class LoopConfig(BaseModel):
    """How long to train and what to write on the way; everything is counted in images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_images: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="images a step, over all processes")
    epoch_images: int = Field(ge=1, description="images that make an epoch, for people and for schedules")
    snapshot_images: tuple[int, ...] = Field(
        (), description="snapshots are written after so many images, and at the end"
    )
    checkpoint_every_seconds: float = Field(60.0, gt=0, description="a killed run loses at most this")
    average_half_life_images: float | None = Field(
        None, gt=0, description="moving average of the weights; none without"
    )
    log_every_images: int = Field(50, ge=1)
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig()
