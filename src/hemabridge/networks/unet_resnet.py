"""A U-Net whose encoder is a ResNet, as in fast.ai's `unet_learner`, but with random initial weights."""

import torch
from torch import Tensor, nn

from hemabridge.networks.config import ResnetUnetConfig, UnetNorm
from hemabridge.networks.layers import initialize_normal
from hemabridge.networks.unet import norm_layer


class BasicBlock(nn.Module):
    """ReLU(shortcut + conv-norm-ReLU-conv-norm(x)), the block of ResNet-18 and ResNet-34."""

    def __init__(self, before: int, after: int, stride: int, norm: UnetNorm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            norm_layer(norm, after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            norm_layer(norm, after),
        )
        same = stride == 1 and before == after
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), norm_layer(norm, after))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map float[B, before, H, W] to float[B, after, H / stride, W / stride]."""
        return torch.relu(self.shortcut(x) + self.layers(x))


class ResnetUnet(nn.Module):
    """Image to image, float[B, in, H, W] to float[B, out, H, W] in [-1, 1]; H and W are multiples of the stride.

    The decoder enlarges by repeating pixels and concatenates the encoder's features of the same size, at last the
    input. Differences from fast.ai's `unet_learner`: no pixel shuffle, no self-attention, and no ImageNet weights,
    since the input is one gray channel of a micrograph.
    """

    def __init__(self, config: ResnetUnetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [config.channels * 2**stage for stage in range(len(config.blocks))]
        stem = nn.Conv2d(in_channels, config.channels, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(stem, norm_layer(config.norm, config.channels), nn.ReLU())
        stages, before = [], config.channels
        for number, (width, count) in enumerate(zip(widths, config.blocks, strict=True)):
            first: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if number == 0 else nn.Identity()
            blocks = [BasicBlock(before, width, 1 if number == 0 else 2, config.norm)]
            blocks += [BasicBlock(width, width, 1, config.norm) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *blocks))
            before = width
        self.stages = nn.ModuleList(stages)
        seen = [in_channels, config.channels, *widths[:-1]]
        decoder = []
        for place, skipped in reversed(list(enumerate(seen))):
            after = skipped if place > 0 else max(config.channels // 2, 1)
            decoder.append(_joined(before + skipped, after, config.norm))
            before = after
        self.decoder = nn.ModuleList(decoder)
        self.head = nn.Sequential(nn.Conv2d(before, out_channels, 1), nn.Tanh())
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate float[B, in, H, W]."""
        seen = [x, self.stem(x)]
        for stage in self.stages:
            seen.append(stage(seen[-1]))
        out = seen.pop()
        for join in self.decoder:
            enlarged = nn.functional.interpolate(out, scale_factor=2.0, mode="nearest")
            out = join(torch.cat((enlarged, seen.pop()), dim=1))
        result: Tensor = self.head(out)
        return result


def _joined(before: int, after: int, norm: UnetNorm) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), norm_layer(norm, after), nn.ReLU())
