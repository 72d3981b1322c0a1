"""Initial weights."""

from torch import nn


def initialize_normal(network: nn.Module, std: float = 0.02) -> None:
    """Draw all convolution weights from N(0, std) and set their biases to 0, as CycleGAN does.

    Norm layers here have no weights (instance norm without affine parameters), so none are drawn.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialize_xavier(network: nn.Module, gain: float = 0.02) -> None:
    """Draw all weights of convolutions and of linear layers as Glorot & Bengio 2010 (Eq. 16, but from a normal).

    Their standard deviation is gain * sqrt(2 / (fan in + fan out)); biases are 0. CUT does so, with this small gain.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
