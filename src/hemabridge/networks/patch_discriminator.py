"""The PatchGAN discriminator (Isola et al. 2017, doi:10.1109/CVPR.2017.632)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hemabridge.networks.blur import BlurredHalf, Downsampling
from hemabridge.networks.initialization import initialize_normal

NormName = Literal["instance", "spectral", "none"]
NORM_USE = (
    "instance is the reference's, and takes the image's own color statistics out of what the discriminator sees; "
    "spectral (Miyato et al. 2018) and none leave them in, as a discriminator of stain needs them"
)


class PatchDiscriminatorConfig(BaseModel):
    """Size of the discriminator; the defaults are the reference's `basic` one, whose outputs each see 70x70 pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["patch"] = "patch"
    channels: int = Field(64, ge=1, description="filters of the first layer")
    layers: int = Field(3, ge=1, le=5, description="layers that halve the picture: 3 sees 70 px, 2 sees 34, 1 sees 16")
    norm: NormName = Field("instance", description=NORM_USE)
    downsampling: Downsampling = Field("strided", description="how those layers halve; CUT blurs")


class PatchDiscriminator(nn.Module):
    """Score each patch of float[B, 3, H, W] in [-1, 1]: unbounded scores float[B, 1, H', W'] (256 px gives 30x30)."""

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * min(2**i, 8) for i in range(config.layers + 1)]
        blurs = config.downsampling == "blurred"
        stride = 1 if blurs else 2
        layers: list[nn.Module] = []
        for i, (before, width) in enumerate(zip([3, *widths], widths, strict=False)):
            halves = i < config.layers
            layers += [nn.Conv2d(before, width, 4, stride=stride if halves else 1, padding=1)]
            layers += [nn.InstanceNorm2d(width)] if i > 0 and config.norm == "instance" else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [BlurredHalf()] if halves and blurs else []
        layers += [nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1)]
        self.layers = nn.Sequential(*layers)
        initialize_normal(self)
        if config.norm == "spectral":
            bound_steepness(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches of float[B, 3, H, W]."""
        out: Tensor = self.layers(x)
        return out


def bound_steepness(network: nn.Module) -> None:
    """Divide each convolution's weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
