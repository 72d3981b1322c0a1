"""How the training of a translator is watched."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
        None, ge=1, description="a look after each so many images; 20 looks, 100 to 1000 images apart, if not given"
    )
    cells: int = Field(16, ge=2, le=256, description="cells of the source that are re-stained at each look")
    patience: int = Field(3, ge=1, le=20, description="a fault counts if so many looks in a row see it")

    @model_validator(mode="after")
    def _check_restarts(self) -> Self:
        if self.restarts and self.on_fault != "stop":
            raise ValueError(f'expected on_fault = "stop" with restarts, got {self.on_fault!r}')
        return self
