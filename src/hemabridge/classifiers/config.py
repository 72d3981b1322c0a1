"""Settings of classifiers: training, semi-supervised fine-tuning, and a classifier of another program."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hemabridge.classifiers.preprocessing import Channels, Preprocessing, View
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.storage.settings_file import RecipePath, each_once

ONNX_SUFFIX = ".onnx"

RANDOM: Final = "random"
"""Takes away the weights that a recipe names: TOML has no word for nothing."""

FROM_SCRATCH: dict[str, int] = {"epochs": 5, "frozen_epochs": 0}
"""Length for random initial weights. It is enough for a few thousand cells of four classes; small sets need more
epochs."""
PRETRAINED: dict[str, int] = {"epochs": 3, "frozen_epochs": 1}
"""Length for pretrained weights: first the new head alone, then the whole network."""


def _epochs(so_far: dict[str, Any]) -> int:
    return _lengths(so_far)["epochs"]


def _frozen_epochs(so_far: dict[str, Any]) -> int:
    return min(_lengths(so_far)["frozen_epochs"], int(so_far.get("epochs", 1)) - 1)


def _lengths(so_far: dict[str, Any]) -> dict[str, int]:
    return FROM_SCRATCH if so_far.get("weights") is None else PRETRAINED


def _weights_or_none(weights: Any) -> Any:
    return None if weights == RANDOM else weights


class ClassifierConfig(BaseModel):
    """A classifier and its training: any timm model, the 1cycle schedule, Adam with decoupled weight decay.

    Augmentation changes no color unless `stain_augmentation` is given. `epochs` and `frozen_epochs` have one default
    for random and another one for pretrained weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = Field("resnet18", description="a timm model, such as resnet18 or resnet18.tv_in1k")
    weights: Annotated[Literal["download"] | RecipePath | None, BeforeValidator(_weights_or_none)] = Field(
        None,
        description="initial weights: random if 'random' or not given, a safetensors file with timm's keys, or "
        "'download' for those of the Hugging Face hub",
    )
    size_px: int = Field(96, ge=32, le=2048, description="side of the network's input, in pixels")
    mean: Channels | None = Field(None, description="input mean as a share of 255; if not given, timm's for the model")
    std: Channels | None = Field(None, description="input deviation as a share of 255; if not given, timm's")
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = Field(2.0, ge=0, description="focal loss only")
    epochs: int = Field(default_factory=_epochs, ge=1)
    frozen_epochs: int = Field(
        default_factory=_frozen_epochs,
        ge=0,
        description="epochs in which the new head is trained and the body is not; as many as `epochs` train the head "
        "alone, such as that of a foundation model",
    )
    batch_size: int = Field(32, ge=2, le=4096)
    learning_rate: float | None = Field(
        None, gt=0, description="peak of the 1cycle schedule; chosen by a learning-rate range test if not given"
    )
    weight_decay: float = Field(0.01, ge=0)
    balanced: bool = Field(True, description="whether each class is drawn equally often")
    shift_px: int = Field(3, ge=0, le=2048, description="random shift, at most so many pixels of the network's input")
    augment: bool = Field(
        True,
        exclude_if=lambda augment: augment,
        description="turn, mirror and shift cells; if false, and without stain_augmentation, cells are not changed",
    )
    epoch_images: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda images: images is None,
        description="images per epoch, so that trainings on sets of several sizes have one length; the number of "
        "cells if not given",
    )

    view: View = Field(
        "color",
        exclude_if=lambda view: view == "color",  # so that the identity of a training without it stays the same
        description="input: the image's colors, or only the cell's shape and relative darkness",
    )
    norm: Literal["batch", "group"] = Field(
        "batch",
        description="'group' builds a ResNet with group norm, which stores no statistics of the training images "
        "(models such as timm's resnet50_gn have it already)",
    )
    frozen_batch_norm: bool = Field(
        False, description="keep the initial statistics of batch norm, and train all weights"
    )

    stain_augmentation: StainAugmentationConfig | None = Field(
        None,
        description="train with stain augmentation, so that the classifier depends less on the stain of one hospital",
    )

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.frozen_epochs > self.epochs:
            raise ValueError(f"expected frozen_epochs <= epochs, got {self.frozen_epochs} and {self.epochs}")
        return self

    def without_folder(self) -> Self:
        """Return the settings with the initial weights by file name alone: no folder of this computer is published."""
        if not isinstance(self.weights, Path):
            return self
        return self.model_copy(update={"weights": Path(self.weights.name)})

    def described(self) -> dict[str, Any]:
        """Return the settings that identify a training, as JSON; `norm` and `frozen_batch_norm` only if not default."""
        unchanged = {"norm": self.norm == "batch", "frozen_batch_norm": not self.frozen_batch_norm}
        return self.model_dump(mode="json", exclude={name for name, same in unchanged.items() if same})


def without_weights(path: Path) -> str:
    """Return what to do where the file of the first weights is missing."""
    return (
        f'expected a weights file, got nothing: {path} does not exist. Set weights = "download", which asks the '
        "Hugging Face hub for timm's weights; or copy their model.safetensors here from a machine with a network; or "
        "leave weights out to start from random ones, and give more epochs"
    )


class SemiSupervisedConfig(BaseModel):
    """Length and learning rate of semi-supervised fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(6000, ge=2, description="images to train on, half of them of each site")
    batch_size: int = Field(48, ge=2, le=4096, multiple_of=2)
    learning_rate: float = Field(5e-4, gt=0, description="peak of the 1cycle schedule")


class ExternalConfig(BaseModel):
    """A trained classifier in a file: ONNX, safetensors with all keys of a timm model, also of its head, or a snapshot.

    What is stated of a snapshot of `hemabridge train` must be what it says of itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: RecipePath
    architecture: str | None = Field(None, description="the timm model that a safetensors file belongs to")
    classes: Annotated[tuple[str, ...], AfterValidator(each_once)] = Field(
        min_length=2, description="all its classes, in the order of its outputs"
    )
    preprocessing: Preprocessing = Preprocessing()
    outputs: Literal["logits", "probabilities"] = Field("logits", description="what an ONNX file's first output is")

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file, which contains its architecture; that of a safetensors file must be given."""
        return self.architecture is None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        named_onnx = self.file.suffix.lower() == ONNX_SUFFIX
        if named_onnx and not self.is_onnx:
            raise ValueError("expected no architecture for an ONNX file, which contains its own")
        if self.is_onnx and not named_onnx:
            raise ValueError("expected an .onnx file, or the architecture of a safetensors file")
        if not self.is_onnx and self.outputs != "logits":
            raise ValueError("expected outputs = 'logits' for a safetensors file: timm models give logits")
        if not self.is_onnx and self.preprocessing.layout != "nchw":
            raise ValueError("expected layout = 'nchw' for a safetensors file: timm models take channels first")
        return self
