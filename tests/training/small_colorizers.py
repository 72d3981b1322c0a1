"""Small models of both readings of colorization, and images of noise to feed them."""

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetUnetConfig, UnetConfig
from hemabridge.translators.objective_config import ColorizationConfig, GrayThenColorConfig

UNET = UnetConfig(channels=2, levels=2)
DISCRIMINATOR = PatchDiscriminatorConfig(channels=2, layers=1)
MODELS = {
    "ab": ColorizationConfig(backbone=UNET, discriminator=DISCRIMINATOR),
    "ab-hint": ColorizationConfig(backbone=UNET, discriminator=DISCRIMINATOR, hint_px=4),
    "rgb": ColorizationConfig(backbone=UNET, discriminator=DISCRIMINATOR, output="rgb"),
    "gray-then-color": GrayThenColorConfig(
        fading=ResnetUnetConfig(channels=2, blocks=(1,)), coloring=UNET, discriminator=DISCRIMINATOR
    ),
}


def noise(seed: int, count: int, side: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def cells(images: np.ndarray, name: str) -> CellSet:
    names = tuple(f"{name}{i}" for i in range(len(images)))
    return CellSet(images, np.full(len(images), -1), (), names, names, 40)
