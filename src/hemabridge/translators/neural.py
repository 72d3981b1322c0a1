"""A trained generator as a Standardizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images, by_rows
from hemabridge.networks.color_generators import ColorGenerator
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.catalog import new_restainer
from hemabridge.translators.header import KIND, Direction, TranslatorHeader
from hemabridge.translators.objective_config import ModelConfig
from hemabridge.translators.target_only_net import SiteRestainer

__all__ = ["KIND", "Direction", "NeuralStandardizer", "directions_of"]

BATCH_IMAGES = 4
"""Cells per batch of a color network; the results of larger batches exceed the CPU cache (`benchmarks/speed.py`)."""


class NeuralStandardizer:
    """Re-stains by a generator, deterministically and without dropout, in batches of `batch_size` images."""

    def __init__(self, generator: nn.Module, batch_size: int = BATCH_IMAGES) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.batch_size = batch_size

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], header: TranslatorHeader, path: Path, direction: Direction = "to_target"
    ) -> "NeuralStandardizer":
        """Rebuild a generator from the content of a snapshot.

        Args:
            tensors: weights of one kind, by names `network/key`, as `weights_of` returns them.
            header: of the same file.
            path: of the file, for errors.
            direction: which generator.

        Raises:
            ModelError: the weights do not fit the header, or the model does not have this direction.
        """
        known = directions_of(tensors)
        if known and direction not in known:
            raise ModelError(
                f"expected a translator with the direction {direction}, got one with only {', '.join(known)}: {path}"
            )
        prefix = f"{direction}/"
        own = {k[len(prefix) :]: t for k, t in tensors.items() if k.startswith(prefix)}
        try:
            return cls(_rebuilt(header.config.model, own))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"expected the whole snapshot of a translator, got a damaged one: {path} ({error})"
            ) from error

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3]; any height and width, N may be 0."""
        if len(images) == 0:
            return images.copy()
        parts = [
            self._standardize_batch(images[start : start + self.batch_size])
            for start in range(0, len(images), self.batch_size)
        ]
        return from_network(torch.cat(parts))

    @property
    def is_pointwise(self) -> bool:
        """Whether a pixel's new color depends only on its old color and on a summary of the image."""
        net = self.generator
        return isinstance(net, SiteRestainer) or (isinstance(net, ColorGenerator) and net.is_pointwise)

    def standardize_by(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3] by summaries of the squares around their cells, uint8[N, S, S, 3].

        Only for pointwise generators.
        """
        restained = np.empty_like(images)
        for place, (image, square) in enumerate(zip(images, squares, strict=True)):
            restained[place] = self._recolored(image, square)
        return restained

    @torch.inference_mode()
    def _recolored(self, image: UInt8Image, square: UInt8Image) -> UInt8Image:
        net = self.generator
        assert isinstance(net, SiteRestainer | ColorGenerator)
        summary = net.summarize(to_network(square[None]))
        return by_rows(image, lambda rows: from_network(net.recolor(to_network(rows[None]), summary))[0])

    @torch.inference_mode()
    def _standardize_batch(self, images: UInt8Images) -> Tensor:
        out: Tensor = self.generator(to_network(images))
        return out


def directions_of(tensors: Mapping[str, Tensor]) -> tuple[Direction, ...]:
    """Return the directions among weights with names `network/key`: `to_target`, and in some models `to_source`."""
    nets = {name.split("/", 1)[0] for name in tensors}
    directions: tuple[Direction, ...] = get_args(Direction)
    return tuple(direction for direction in directions if direction in nets)


def _rebuilt(config: ModelConfig, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a network with these weights; it takes no more memory than they do, whatever the configuration states."""
    if not all(weight.dtype == torch.float32 and bool(weight.isfinite().all()) for weight in weights.values()):
        raise ValueError("weights that are no finite 32-bit numbers")
    with torch.device("meta"):
        restainer = new_restainer(config)
    restainer.load_state_dict(weights, assign=True)
    return restainer
