"""Classifiers that come as a file: a timm state dict or ONNX. An ONNX file is used without PyTorch."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.classifiers.config import WeightsFile
from hemabridge.classifiers.onnx_classifier import OnnxClassifier
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import Classifier

ONNX_SUFFIX = ".onnx"


class ExternalConfig(BaseModel):
    """A trained classifier in a file: `.onnx`, or safetensors with the keys of a timm model, head included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: WeightsFile
    architecture: str | None = Field(None, description="the timm model that a safetensors file belongs to")
    classes: tuple[str, ...] = Field(min_length=2, description="all its classes, in the order of its outputs")
    preprocessing: Preprocessing = Preprocessing()
    outputs: Literal["logits", "probabilities"] = Field("logits", description="what an ONNX file's first output is")

    @property
    def is_onnx(self) -> bool:
        """Whether the file is named as ONNX."""
        return self.file.suffix.lower() == ONNX_SUFFIX

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"expected each class once, got {', '.join(self.classes)}")
        if self.is_onnx and self.architecture is not None:
            raise ValueError("expected no architecture for an ONNX file, which holds its own")
        if not self.is_onnx and self.architecture is None:
            raise ValueError("expected an .onnx file, or the architecture of a safetensors file")
        if not self.is_onnx and self.outputs != "logits":
            raise ValueError("expected outputs = 'logits' for a safetensors file: timm models give logits")
        return self


def load_external(config: ExternalConfig) -> Classifier:
    """Open a classifier that was trained elsewhere; it is named by its file.

    Raises:
        ModelError: the file is missing, damaged, a pickle, or does not fit the architecture or the classes.
    """
    if config.is_onnx:
        return OnnxClassifier(config.file, config.classes, config.preprocessing, config.outputs)
    return _load_timm(config.file, str(config.architecture), config.classes, config.preprocessing)


def _load_timm(file: Path, architecture: str, classes: tuple[str, ...], preprocessing: Preprocessing) -> Classifier:
    # Imported here so that an ONNX file needs no PyTorch.
    from hemabridge.classifiers.classifier import NetworkClassifier
    from hemabridge.classifiers.network import new_network, pretrained_cfg, split_weights
    from hemabridge.classifiers.weights import fill, read_weights

    body, head = split_weights(read_weights(file), pretrained_cfg(architecture))
    network = new_network(architecture, preprocessing.size_px, len(classes))
    fill(network.body, body, f"{architecture} ({file.name})")
    fill(network.head, head, f"{architecture}'s classifier of {len(classes)} classes ({file.name})")
    return NetworkClassifier(network, preprocessing, classes, file.stem)
