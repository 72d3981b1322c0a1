"""The ResNet generator of CycleGAN (Johnson et al. 2016; Zhu et al. 2017, doi:10.1109/ICCV.2017.244)."""

from torch import Tensor, nn
from torch.nn.functional import pad

from hemabridge.networks.config import STRIDE, ResnetGeneratorConfig
from hemabridge.networks.layers import BlurredHalf, initialize_normal


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
    """Image to image, float[B, 3, H, W] in [-1, 1] to the same; H and W are at least 5.

    If H or W is not a multiple of `STRIDE`, the image is padded at the right and at the bottom, and the result is
    cropped. Convolutions before an instance norm have a bias, as in the reference code, although the norm cancels it.
    """

    def __init__(self, config: ResnetGeneratorConfig) -> None:
        super().__init__()
        width = config.channels
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_norm_relu(width)]
        for factor in (1, 2):
            stride = 2 if config.downsampling == "strided" else 1
            layers += [nn.Conv2d(width * factor, width * factor * 2, 3, stride=stride, padding=1)]
            layers += _norm_relu(width * factor * 2)
            layers += [BlurredHalf()] if config.downsampling == "blurred" else []
        layers += [ResidualBlock(width * 4) for _ in range(config.blocks)]
        for factor in (4, 2):
            out = width * factor // 2
            layers += [*_doubling(width * factor, out, config.upsampling), *_norm_relu(out)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialize_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate float[B, 3, H, W] in [-1, 1]."""
        height, width = x.shape[-2:]
        out: Tensor = self.layers(pad_to_stride(x))
        return out[:, :, :height, :width]


def pad_to_stride(images: Tensor) -> Tensor:
    """Extend float[B, 3, H, W] at the right and at the bottom to multiples of `STRIDE`, by repeating the edge."""
    height, width = images.shape[-2:]
    return pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def _doubling(channels: int, out: int, upsampling: str) -> list[nn.Module]:
    """Layers that double height and width; resize-convolution: Odena et al. 2016, doi:10.23915/distill.00003."""
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)]
    return [nn.Upsample(scale_factor=2, mode=upsampling), nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3)]


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
