"""timm models as two networks: a body that computes features, and a head that classifies them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
import torch
from timm.layers.norm import GroupNorm
from timm.models import PretrainedCfg
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from hemabridge.classifiers.config import ClassifierConfig, without_weights
from hemabridge.classifiers.hub import download_weights
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.weights import backbone_of, fill, read_weights, unwrapped
from hemabridge.errors import ModelError
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import sha256_of


@dataclass(frozen=True)
class StartWeights:
    """Where training starts.

    Attributes:
        sha256: of the file of weights.
        origin: `repository/file@commit` of the Hugging Face hub if it was downloaded; None for a file that was given.
    """

    sha256: str
    origin: str | None = None


class ClassifierNetwork(nn.Module):
    """Logits = head(body(images)).

    `body` is a timm model without classifier, with timm's keys; `head` is linear. Both are kept in channels-last
    memory, which is 10 to 30% faster on CPUs for the networks that were measured, such as ResNet-18.
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body.to(memory_format=torch.channels_last)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Return float[B, classes] logits of float[B, 3, S, S] normalized images."""
        logits: Tensor = self.head(self.body(images.contiguous(memory_format=torch.channels_last)))
        return logits


def new_network(
    architecture: str, size_px: int, num_classes: int, norm: Literal["batch", "group"] = "batch"
) -> ClassifierNetwork:
    """Build a timm model with random weights, and a new head; nothing is downloaded.

    Args:
        architecture: a timm model.
        size_px: side of its input. A vision transformer takes any multiple of its patch.
        num_classes: outputs of the head.
        norm: `batch` for timm's own model; `group` for a ResNet with group norm in place of batch norm (Wu and He
            2018, doi:10.1007/978-3-030-01261-8_1).

    Raises:
        ModelError: timm has no such model (the message proposes similar names), it cannot take images of `size_px`, or
            its norm cannot be replaced.
    """
    cfg = pretrained_cfg(architecture)
    resized = bool(cfg.fixed_input_size) and cfg.input_size[1] != size_px
    body = _resized_body(architecture, size_px, cfg) if resized else _body(architecture, norm)
    features = _features(body, architecture, size_px)
    head = nn.Linear(features, num_classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return ClassifierNetwork(body, head)


def _resized_body(architecture: str, size_px: int, cfg: PretrainedCfg) -> nn.Module:
    """Build a vision transformer for another size than that of its weights, whose position embeddings are resampled."""
    only = f"expected size_px = {cfg.input_size[1]}, the only one of {architecture}"
    with torch.device("meta"):  # no memory and no random numbers: only its kind is of interest
        shape = timm.create_model(architecture, pretrained=False, num_classes=0)
    if not isinstance(shape, VisionTransformer):
        raise ModelError(f"{only}, got {size_px}")
    patch = shape.patch_embed.patch_size[0]
    if size_px % patch:
        raise ModelError(f"{only} but for multiples of its patch of {patch} px, got {size_px}")
    return timm.create_model(architecture, pretrained=False, num_classes=0, img_size=size_px)


def _body(architecture: str, norm: Literal["batch", "group"]) -> nn.Module:
    if norm == "batch":
        return timm.create_model(architecture, pretrained=False, num_classes=0)
    refused = ModelError(f"expected a model whose batch norm can be replaced, such as resnet18, got {architecture}")
    with torch.device("meta"):  # no memory and no random numbers: only its layers are of interest
        if not has_batch_norm(timm.create_model(architecture, pretrained=False, num_classes=0)):
            raise refused
    try:
        body = timm.create_model(architecture, pretrained=False, num_classes=0, norm_layer=GroupNorm)
    except (TypeError, ValueError) as error:
        raise refused from error
    if has_batch_norm(body):
        raise refused
    return body


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether a network stores statistics of the images that it was trained on."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def pretrained_cfg(architecture: str) -> PretrainedCfg:
    """Return timm's configuration of a model's weights and input.

    Raises:
        ModelError: timm has no such model, or no such weights of it.
    """
    name, _, tag = architecture.partition(".")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists all"
        raise ModelError(f"expected the name of a timm model, got {architecture!r}; {hint}")
    try:
        cfg = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        tags = ", ".join(full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*"))
        raise ModelError(f"expected the tag of weights that timm has for {name} ({tags}), got {tag!r}") from error
    assert cfg is not None  # timm has one for each of its models
    return cfg


def preprocessing_of(config: ClassifierConfig) -> Preprocessing:
    """Return the preprocessing of a configuration; mean and deviation that it does not give are those of timm."""
    cfg = pretrained_cfg(config.architecture)
    return Preprocessing(
        size_px=config.size_px, mean=config.mean or cfg.mean, std=config.std or cfg.std, view=config.view
    )


def load_start(
    network: ClassifierNetwork, architecture: str, weights: Literal["download"] | Path, progress: Progress = silent
) -> StartWeights:
    """Fill the body from a file or from timm's hub, and the head too if the file has one of its shape.

    Raises:
        ModelError: the file cannot be read or downloaded, is not safetensors, or does not fit the body.
    """
    cfg = pretrained_cfg(architecture)
    if weights == "download":
        downloaded = download_weights(cfg, progress)
        path, origin = downloaded.path, downloaded.origin
    else:
        if not weights.is_file():
            raise ModelError(without_weights(weights))
        path, origin = weights, None
    body, head = split_weights(backbone_of(read_weights(path)), cfg, network.body)
    if isinstance(network.body, VisionTransformer):
        body = checkpoint_filter_fn(body, network.body)  # resamples position embeddings of another input size
    fill(network.body, body, f"{architecture} ({path.name})")
    if {key: tensor.shape for key, tensor in head.items()} == _shapes(network.head):
        fill(network.head, head, f"{architecture}'s classifier ({path.name})")
    return StartWeights(sha256_of(path), origin)


def split_weights(
    weights: Mapping[str, Tensor], cfg: PretrainedCfg, net: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split timm's state dict into that of the body `net` and that of the head (`weight`, `bias`).

    A prefix of a wrapper before all keys is removed (`unwrapped`).
    """
    weights = unwrapped(weights, net)
    names = cfg.classifier if isinstance(cfg.classifier, tuple) else (cfg.classifier,)
    prefixes = tuple(f"{name}." for name in names)
    body = {key: tensor for key, tensor in weights.items() if not key.startswith(prefixes)}
    first = prefixes[0]
    head = {key[len(first) :]: tensor for key, tensor in weights.items() if key.startswith(first)}
    return body, head


def _shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in net.state_dict().items()}


@torch.no_grad()
def _features(body: nn.Module, architecture: str, size_px: int) -> int:
    """Return the number of features of the body, from one forward pass: timm's attributes do not always contain it."""
    body.eval()
    try:
        features = body(torch.zeros(1, 3, size_px, size_px))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(f"expected {architecture} to take images of {size_px} px, it does not: {error}") from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ModelError(
            f"expected {architecture} to give one feature vector per image, it does not; use another model"
        )
    return int(features.shape[1])
