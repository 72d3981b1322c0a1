"""The ResNet generator of CycleGAN (Johnson et al. 2016; Zhu et al. 2017, doi:10.1109/ICCV.2017.244)."""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hemabridge.networks.initialization import initialize_normal

STRIDE = 4
"""Height and width of the input must be multiples of this: two layers halve them and two double them."""


class ResnetGeneratorConfig(BaseModel):
    """Size of the generator; the defaults are the reference's `resnet_9blocks` with 64 filters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(64, ge=1, description="filters of the first layer")
    blocks: int = Field(9, ge=0, description="residual blocks")


class ResidualBlock(nn.Module):
    """x + conv-norm-ReLU-conv-norm(x), reflection padded; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map float[B, C, H, W] to the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class ResnetGenerator(nn.Module):
    """Image to image, float[B, 3, H, W] in [-1, 1] to the same; H and W are multiples of `STRIDE`.

    Convolutions before an instance norm keep their bias, as in the reference, although the norm cancels it.
    """

    def __init__(self, config: ResnetGeneratorConfig) -> None:
        super().__init__()
        width = config.channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_norm_relu(width)]
        for factor in (1, 2):
            layers += [nn.Conv2d(width * factor, width * factor * 2, 3, stride=2, padding=1)]
            layers += _norm_relu(width * factor * 2)
        layers += [ResidualBlock(width * 4) for _ in range(config.blocks)]
        for factor in (4, 2):
            out = width * factor // 2
            layers += [nn.ConvTranspose2d(width * factor, out, 3, stride=2, padding=1, output_padding=1)]
            layers += _norm_relu(out)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate float[B, 3, H, W] in [-1, 1]."""
        out: Tensor = self.layers(x)
        return out


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
