"""Features of a generator at sampled positions of an image, projected for the contrastive loss (Park et al. 2020)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hemabridge.networks.resnet_generator import ResidualBlock, ResnetGenerator


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose output is compared: its index in the generator, and its number of channels."""

    place: int
    channels: int


def feature_layers(generator: ResnetGenerator, names: Iterable[str]) -> tuple[FeatureLayer, ...]:
    """Find layers by name, in the order of `names`.

    `pixels` is the padded image, `down-1` and `down-2` are the convolutions that halve it (before their norm), and
    `block-1`, `block-2`, ... the residual blocks. Pixels, both halvings and blocks 1 and 5 are layers 0, 4, 8, 12 and
    16 of the reference implementation of CUT.

    Raises:
        KeyError: the generator has no layer of that name.
    """
    layers = list(generator.layers)
    convolutions = [(i, layer.out_channels) for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    blocks = [i for i, layer in enumerate(layers) if isinstance(layer, ResidualBlock)]
    first, second = (FeatureLayer(*found) for found in convolutions[1:3])
    known = {"pixels": FeatureLayer(0, 3), "down-1": first, "down-2": second}
    known |= {f"block-{number}": FeatureLayer(place, second.channels) for number, place in enumerate(blocks, 1)}
    return tuple(known[name] for name in names)


def features(generator: ResnetGenerator, layers: Sequence[FeatureLayer], images: Tensor) -> list[Tensor]:
    """Run float[B, 3, H, W] in [-1, 1] up to the last of `layers`; return the output of each, float[B, C, H', W']."""
    wanted = {layer.place for layer in layers}
    seen: dict[int, Tensor] = {}
    x = images
    for place, layer in enumerate(generator.layers[: max(wanted) + 1]):
        x = layer(x)
        if place in wanted:
            seen[place] = x
    return [seen[layer.place] for layer in layers]


def draw_places(maps: Iterable[Tensor], patches: int) -> list[Tensor]:
    """Draw `patches` different places of each float[B, C, H, W] (all, if it has fewer): int64[P] each, row by row.

    They are drawn from torch's global generator and used for all images of the batch, as in the reference code.
    """
    return [torch.randperm(m.shape[2] * m.shape[3], device=m.device)[:patches] for m in maps]


class PatchProjection(nn.Module):
    """A perceptron of two layers for each feature layer; its outputs are vectors of `width` numbers and length 1.

    The reference code makes the perceptrons in the first training step. Here they are made at once, from the known
    numbers of channels, so that a run can be resumed from its first image on.
    """

    def __init__(self, layers: Sequence[FeatureLayer], width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(layer.channels, width), nn.ReLU(), nn.Linear(width, width)) for layer in layers
        )

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Project float[B, C, H, W] at int64[P] places: float[B, P, width] for each layer."""
        return [
            _unit(head(m.flatten(2)[:, :, chosen].transpose(1, 2)))
            for head, m, chosen in zip(self.heads, maps, places, strict=True)
        ]


def _unit(vectors: Tensor, smallest: float = 1e-12) -> Tensor:
    """Divide vectors along the last dimension by their length; vectors of length 0 stay 0 and get no gradient.

    A blank field can make the output of a layer 0 everywhere. Division by a small number would then give the biases a
    very large gradient, which stays in Adam's moments for thousands of steps.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    return torch.where(lengths > smallest, vectors / lengths.clamp_min(smallest), torch.zeros_like(vectors))
