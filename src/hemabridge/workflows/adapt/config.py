"""The settings of `hemabridge adapt`. Imports no PyTorch."""

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.ensemble.config import DISTILLATION, EnsembleConfig, MembersConfig
from hemabridge.errors import ModelError

ARCHITECTURE: Final = "mobilenetv2_100"


CELL_PX: Final = 96
"""Side of the cells, cut from the original images."""


FOUNDATION_ARCHITECTURES: Final = {
    384: "vit_small_patch14_dinov2",
    768: "vit_base_patch14_dinov2",
    1024: "vit_large_patch14_dinov2",
}
"""Vision transformers of DINOv2 (Oquab et al. 2023, arXiv:2304.07193) by the width of their tokens."""
FOUNDATION_PX: Final = 98
"""Input of a foundation model: the multiple of its patch of 14 px that is nearest to `CELL_PX`."""


def members(weights: Literal["download"] | Path | None, foundation: Path | None = None) -> tuple[MembersConfig, ...]:
    """Return the settings of the classifiers: three color members and two shape members.

    The training is that of the members of `recipes/recommended.toml`; from random weights, four times as long.

    Args:
        weights: the initial weights of timm's mobilenetv2_100; None for random ones.
        foundation: safetensors of a DINOv2 vision transformer such as DinoBloom (Koch et al. 2024,
            arXiv:2404.05022). It becomes one more color member, of which only the head is trained.

    Raises:
        ModelError: the file is not such weights.
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
    own = (
        MembersConfig(count=3, train=ClassifierConfig(**common, stain_augmentation=color)),
        MembersConfig(count=2, train=ClassifierConfig(**common, view="shape", stain_augmentation=shape)),
    )
    return own if foundation is None else (*own, _foundation_member(foundation, common, color))


def _foundation_member(
    weights: Path, common: dict[str, Any], stain_augmentation: StainAugmentationConfig
) -> MembersConfig:
    head_alone = {"weights": weights, "size_px": FOUNDATION_PX, "epochs": 2, "frozen_epochs": 2}
    settings = common | head_alone | {"architecture": _foundation_architecture(weights)}
    return MembersConfig(count=1, train=ClassifierConfig(**settings, stain_augmentation=stain_augmentation))


def _foundation_architecture(weights: Path) -> str:
    """Return the architecture of a file, by the width of its class token."""
    expected = "expected safetensors of a DINOv2 vision transformer (S, B or L), such as DinoBloom"
    try:
        with safe_open(weights, framework="numpy") as file:
            keys = file.keys()
            (token,) = [key for key in keys if key.removeprefix("backbone.") == "cls_token"]
            width = file.get_slice(token).get_shape()[-1]
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{expected}, got {weights.name} ({error}); docs/methods.md says how to get them") from error
    if width not in FOUNDATION_ARCHITECTURES:
        raise ModelError(f"{expected}, got tokens of {width} numbers in {weights.name}")
    return FOUNDATION_ARCHITECTURES[width]


class AdaptConfig(BaseModel):
    """The settings of `hemabridge adapt`. The defaults are for real images.

    Attributes:
        kind: the kind of run that `recipe.toml` in the run folder describes.
        members: the classifiers of the ensemble.
        ensemble: the fit to the other hospital.
        distillation: the training of the single classifier.
        cell_px: side of the cells in pixels, at least the input of each classifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["adapt"] = "adapt"
    members: tuple[MembersConfig, ...]
    ensemble: EnsembleConfig = EnsembleConfig()
    distillation: SemiSupervisedConfig = DISTILLATION
    cell_px: int = CELL_PX

    @classmethod
    def of_members(cls, specs: tuple[MembersConfig, ...]) -> Self:
        """Return the settings with these classifiers, and cells as large as the largest input of them."""
        return cls(members=specs, cell_px=max(CELL_PX, *(spec.train.size_px for spec in specs)))
