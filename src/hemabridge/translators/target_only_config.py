"""Configuration of the translator that learns from the target site alone."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TargetOnlyConfig(BaseModel):
    """A color network tuned by a site's descriptor, and the hospitals that it learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["target-only"] = "target-only"
    width: int = Field(32, ge=1, le=256, description="units of each hidden layer of the color network")
    layers: int = Field(3, ge=1, le=8, description="its hidden layers")
    tuner_width: int = Field(
        96, ge=1, le=512, description="hidden units between a descriptor and the tuning of the layers"
    )
    hospitals: int = Field(320, ge=10, le=5000, description="random hospitals, of which a tenth is held out")
    hospital_images: int = Field(8, ge=1, le=200, description="target images that each of them photographs again")
    strength: float = Field(1.0, gt=0, le=1, description="how far from the target the hospitals are drawn; 1 is most")
    step_hospitals: int = Field(64, ge=1, le=1024, description="hospitals in a step, drawn anew each time")
    pixels: int = Field(128, ge=1, le=4096, description="pixels of each of them")
    site: Literal["source", "image"] = Field(
        "source",
        description="whose descriptor tunes the network: that of the whole source site, or of each image for itself",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the random hospitals")
