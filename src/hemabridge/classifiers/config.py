"""Settings of classifiers: how one is trained, how it is fine-tuned on both sites, and one that comes as a file."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hemabridge.classifiers.preprocessing import Channels, Preprocessing, View
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.storage.settings_file import RecipePath, each_once

ONNX_SUFFIX = ".onnx"

FROM_SCRATCH: dict[str, int] = {"epochs": 5, "frozen_epochs": 0}
"""Lengths for random initial weights: enough for a few thousand cells of four classes; give small sets more epochs."""
PRETRAINED: dict[str, int] = {"epochs": 3, "frozen_epochs": 1}
"""Lengths for weights that were learned elsewhere: the new head first, then everything."""


def _epochs(so_far: dict[str, Any]) -> int:
    return _lengths(so_far)["epochs"]


def _frozen_epochs(so_far: dict[str, Any]) -> int:
    return min(_lengths(so_far)["frozen_epochs"], int(so_far.get("epochs", 1)) - 1)


def _lengths(so_far: dict[str, Any]) -> dict[str, int]:
    return FROM_SCRATCH if so_far.get("weights") is None else PRETRAINED


class ClassifierConfig(BaseModel):
    """A classifier and its training: any timm model, 1cycle, Adam with decoupled weight decay.

    As in the paper, augmentation changes no color unless `stain_augmentation` asks for it.

    `epochs` and `frozen_epochs` have one default for random and one for pretrained weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = Field("resnet18", description="a timm model, such as resnet18 or resnet18.tv_in1k")
    weights: Literal["download"] | RecipePath | None = Field(
        None,
        description="where training starts: random weights if not given, a safetensors file with timm's keys, or "
        "'download', which asks the Hugging Face hub",
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
        description="epochs in which the new head learns and the body does not",
    )
    batch_size: int = Field(32, ge=2, le=4096)
    learning_rate: float | None = Field(
        None, gt=0, description="peak of the 1cycle schedule; a learning-rate range test picks it if not given"
    )
    weight_decay: float = Field(0.01, ge=0)
    balanced: bool = Field(True, description="whether each class is seen equally often")
    shift_px: int = Field(3, ge=0, le=2048, description="random shift of at most so many pixels of the network's input")
    augment: bool = Field(
        True,
        exclude_if=lambda augment: augment,
        description="turn, mirror and shift; if not, and without stain_augmentation, cells are seen as they are",
    )
    epoch_images: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda images: images is None,
        description="images an epoch, for trainings of one length on sets of several sizes; as many as there are "
        "cells if not given",
    )

    view: View = Field(
        "color",
        exclude_if=lambda view: view == "color",  # so that what older versions trained is still known as trained
        description="what it sees: the image's colors, or only the cell's shape and relative darkness",
    )
    norm: Literal["batch", "group"] = Field(
        "batch",
        description="'group' builds a ResNet with group norm, which keeps no statistics of its hospital (timm's "
        "resnet50_gn and its like have it already)",
    )
    frozen_batch_norm: bool = Field(
        False, description="keep the batch norm's statistics as they are at the start, and train all the rest"
    )

    stain_augmentation: StainAugmentationConfig | None = Field(
        None,
        description="train with stain augmentation, for a classifier that depends less on one hospital's",
    )

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.frozen_epochs >= self.epochs:
            raise ValueError(f"expected frozen_epochs < epochs, got {self.frozen_epochs} and {self.epochs}")
        return self

    def without_folder(self) -> Self:
        """Name the file of the first weights alone: its hash says which it is, and its folder is nobody's business."""
        if not isinstance(self.weights, Path):
            return self
        return self.model_copy(update={"weights": Path(self.weights.name)})

    def described(self) -> dict[str, Any]:
        """Return what identifies a training; JSON. Newer settings are left out while they change nothing."""
        unchanged = {"norm": self.norm == "batch", "frozen_batch_norm": not self.frozen_batch_norm}
        return self.model_dump(mode="json", exclude={name for name, same in unchanged.items() if same})


class SemiSupervisedConfig(BaseModel):
    """Length and learning rate of semi-supervised fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(6000, ge=2, description="images to train on, half of them of each site")
    batch_size: int = Field(48, ge=2, le=4096, multiple_of=2)
    learning_rate: float = Field(5e-4, gt=0, description="peak of the 1cycle schedule")


class ExternalConfig(BaseModel):
    """A trained classifier in a file: `.onnx`, or safetensors with the keys of a timm model, head included."""

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
        """Whether it is an ONNX file, which holds its architecture; that of a safetensors file is stated."""
        return self.architecture is None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        named_onnx = self.file.suffix.lower() == ONNX_SUFFIX
        if named_onnx and not self.is_onnx:
            raise ValueError("expected no architecture for an ONNX file, which holds its own")
        if self.is_onnx and not named_onnx:
            raise ValueError("expected an .onnx file, or the architecture of a safetensors file")
        if not self.is_onnx and self.outputs != "logits":
            raise ValueError("expected outputs = 'logits' for a safetensors file: timm models give logits")
        if not self.is_onnx and self.preprocessing.layout != "nchw":
            raise ValueError("expected layout = 'nchw' for a safetensors file: timm models take channels first")
        return self
