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
