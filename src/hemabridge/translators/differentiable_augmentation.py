"""Differentiable augmentation of a discriminator's input (DiffAug: Zhao et al. 2020, doi:10.48550/arXiv.2006.10738).

Each function takes float[B, C, H, W] in [-1, 1] and returns the same shape, differentiably; random numbers come from
torch's global generator, separately for each image. Real and fake images are augmented alike, in the steps of
generators and of discriminators. A discriminator then cannot memorize a small training set, and the augmentation does
not appear in the generated images.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from hemabridge.translators.objective_config import AugmentationConfig


def augment(images: Tensor, config: AugmentationConfig) -> Tensor:
    """Apply all augmentations of the configuration."""
    if config.brightness > 0:
        images = images + (2 * _random(images) - 1) * config.brightness
    if config.symmetries:
        images = symmetries(images)
    if config.translation > 0:
        images = translate(images, config.translation)
    if config.cutout > 0:
        images = cut_out(images, config.cutout)
    return images


def symmetries(images: Tensor) -> Tensor:
    """Mirror half of the images left to right and half top to bottom; swap rows and columns of half of them.

    Together the eight symmetries of a square, equally often. Images that are not square are only mirrored.
    """
    images = torch.where(_random(images) < 0.5, images.flip(3), images)
    images = torch.where(_random(images) < 0.5, images.flip(2), images)
    if images.shape[2] == images.shape[3]:
        images = torch.where(_random(images) < 0.5, images.transpose(2, 3), images)
    return images


def translate(images: Tensor, share: float) -> Tensor:
    """Shift each image by whole pixels, up to `share` of its sides, padded with 0 (gray), as in the paper."""
    count, _, height, width = images.shape
    down, right = int(height * share + 0.5), int(width * share + 0.5)
    rows = torch.randint(2 * down + 1, (count, 1), device=images.device) + torch.arange(height, device=images.device)
    columns = torch.randint(2 * right + 1, (count, 1), device=images.device) + torch.arange(width, device=images.device)
    padded = pad(images, (right, right, down, down)).permute(0, 2, 3, 1)
    own = torch.arange(count, device=images.device)[:, None, None]
    return padded[own, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, share: float) -> Tensor:
    """Cover a square with `share` of each image's sides by 0 (gray); its center is random within the image."""
    count, _, height, width = images.shape
    tall, wide = int(height * share + 0.5), int(width * share + 0.5)
    tops = torch.randint(height + (1 - tall % 2), (count, 1), device=images.device) - tall // 2
    lefts = torch.randint(width + (1 - wide % 2), (count, 1), device=images.device) - wide // 2
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    covered_rows = (rows >= tops) & (rows < tops + tall)
    covered_columns = (columns >= lefts) & (columns < lefts + wide)
    covered = covered_rows[:, None, :, None] & covered_columns[:, None, None, :]
    return images.masked_fill(covered, 0.0)


def _random(images: Tensor) -> Tensor:
    """Draw one number in [0, 1) per image, float[B, 1, 1, 1]."""
    return torch.rand(len(images), 1, 1, 1, device=images.device)
