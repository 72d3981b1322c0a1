"""A layer that halves without aliasing, and the initialization of weights: used by several networks."""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad


class BlurredHalf(nn.Module):
    """Halve without aliasing: blur with [1, 2, 1] / 4 in both directions, and keep every other pixel.

    float[B, C, H, W] to float[B, C, ceil(H / 2), ceil(W / 2)]; reflected at the edge. Zhang 2019, arXiv:1904.11486,
    section 3.2, "Triangle-3". The blur is computed as two means over 2x2 pixels, so that the layer has no weights.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Halve float[B, C, H, W]; H and W are at least 2."""
        return avg_pool2d(avg_pool2d(pad(x, (1, 1, 1, 1), mode="reflect"), 2, stride=1), 2, stride=2)


def initialize_normal(network: nn.Module, std: float = 0.02) -> None:
    """Draw all convolution weights from N(0, std) and set their biases to 0, as CycleGAN does.

    Norm layers are left as they are: instance norm has no affine parameters here.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialize_xavier(network: nn.Module, gain: float = 0.02) -> None:
    """Draw the weights of convolutions and linear layers as Glorot & Bengio 2010 (Eq. 16), but normally distributed.

    Their standard deviation is gain * sqrt(2 / (fan in + fan out)); biases are 0. The default gain is that of CUT.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
