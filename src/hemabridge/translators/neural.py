"""A trained generator as a Standardizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.resnet_generator import STRIDE, ResnetGenerator, ResnetGeneratorConfig
from hemabridge.training.snapshots import read_snapshot
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.config import TranslatorConfig

Direction = Literal["to_target", "to_source"]
KIND = "translator"


class NeuralStandardizer:
    """Re-stains with a generator: deterministic, without dropout, in batches of `batch_size` images."""

    def __init__(self, generator: nn.Module, batch_size: int = 16) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.batch_size = batch_size

    @classmethod
    def from_snapshot(
        cls, path: Path, direction: Direction = "to_target", weights: Literal["average", "raw", "best"] = "best"
    ) -> "NeuralStandardizer":
        """Rebuild a generator from a snapshot alone.

        Raises:
            ModelError: the file is not the whole snapshot of a translator.
        """
        tensors, header = read_snapshot(path, weights)
        if header.get("kind") != KIND:
            raise ModelError(f"expected the snapshot of a translator, got that of a {header.get('kind')}: {path}")
        prefix = f"{direction}/"
        own = {k[len(prefix) :]: t for k, t in tensors.items() if k.startswith(prefix)}
        try:
            config = TranslatorConfig.model_validate(header["config"])
            return cls(_rebuilt(config.model.generator, own))
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

    @torch.inference_mode()
    def _standardize_batch(self, images: UInt8Images) -> Tensor:
        height, width = images.shape[1:3]
        padded = pad_to_stride(to_network(images))
        out: Tensor = self.generator(padded)[:, :, :height, :width]
        return out


def _rebuilt(config: ResnetGeneratorConfig, weights: Mapping[str, Tensor]) -> ResnetGenerator:
    """Return a generator of these weights; takes no more memory than they do, whatever the configuration says."""
    if config.blocks > len(weights):
        raise ValueError(f"{config.blocks} blocks, but only {len(weights)} tensors")
    if not all(weight.dtype == torch.float32 and bool(weight.isfinite().all()) for weight in weights.values()):
        raise ValueError("weights that are no finite 32-bit numbers")
    with torch.device("meta"):
        generator = ResnetGenerator(config)
    generator.load_state_dict(weights, assign=True)
    return generator


def pad_to_stride(images: Tensor) -> Tensor:
    """Extend float[B, 3, H, W] at the right and at the bottom to multiples of `STRIDE`, by repeating the edge."""
    height, width = images.shape[-2:]
    return pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
