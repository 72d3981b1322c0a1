"""The settings of `hemabridge adapt`. Imports no PyTorch."""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.ensemble.config import DISTILLATION, EnsembleConfig, MembersConfig

ARCHITECTURE: Final = "mobilenetv2_100"


CELL_PX: Final = 96
"""Side of the cells, cut from the original images."""


def members(weights: Literal["download"] | Path | None) -> tuple[MembersConfig, ...]:
    """Return the settings of the classifiers: three color members and three shape members.

    The training is that of the members of `recipes/recommended.toml`; from random weights, four times as long.
    """
    common: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "weights": weights,
        "size_px": 64,
        "epochs": 2 if weights else 8,
        "epoch_images": 2336,
        "frozen_epochs": 0,
        "learning_rate": 1e-3,
    }
    color = StainAugmentationConfig(stain=0.3)
    shape = StainAugmentationConfig(stain=0.0, contrast=0.5)
    return (
        MembersConfig(count=3, train=ClassifierConfig(**common, stain_augmentation=color)),
        MembersConfig(count=3, train=ClassifierConfig(**common, view="shape", stain_augmentation=shape)),
    )


class AdaptConfig(BaseModel):
    """The settings of `hemabridge adapt`. The defaults are for real images.

    Attributes:
        kind: the kind of run that `recipe.toml` in the run folder describes.
        members: the classifiers of the ensemble.
        ensemble: the fit to the other hospital.
        distillation: the training of the single classifier.
        cell_px: side of the cells in pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["adapt"] = "adapt"
    members: tuple[MembersConfig, ...]
    ensemble: EnsembleConfig = EnsembleConfig()
    distillation: SemiSupervisedConfig = DISTILLATION
    cell_px: int = CELL_PX
