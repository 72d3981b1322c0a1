"""Settings of the networks: their sizes, and the unions by `kind` from which a recipe chooses. Imports no PyTorch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)


def by_kind(default: str, *configs: type[BaseModel]) -> WrapValidator:
    """Read a section as the member of `configs` with the section's `kind`, or with `default` if it has no `kind`.

    Pydantic's own discriminated unions require a `kind`, which older files lack. They also add the kind to the location
    of each error, although the recipe has no such key.
    """
    known = {config.model_fields["kind"].default: config for config in configs}

    def read(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return handler(value)
        kind = value.get("kind", default)
        if not isinstance(kind, str) or kind not in known:
            raise ValueError(f"expected kind = one of {', '.join(map(repr, known))}, got {kind!r}")
        return known[kind].model_validate(value, context=info.context)

    return WrapValidator(read)


Downsampling: TypeAlias = Literal["strided", "blurred"]
"""How convolutions halve a picture: `strided` by a stride of 2; `blurred` by a stride of 1, a blur, and dropping every
other pixel, as CUT does."""

STRIDE = 4
"""Height and width of the padded input are multiples of this: two layers halve them and two double them."""


class ResnetGeneratorConfig(BaseModel):
    """Size of the generator; the defaults are `resnet_9blocks` of the CycleGAN reference code, with 64 filters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["resnet"] = "resnet"
    channels: int = Field(64, ge=1, le=1024, description="filters of the first layer")
    blocks: int = Field(9, ge=0, le=100, description="residual blocks")
    upsampling: Literal["transposed", "nearest", "bilinear"] = Field(
        "transposed",
        description="how height and width are doubled: by transposed convolutions as in the reference code, which may "
        "leave a checkerboard, or by resizing and a convolution (Odena et al. 2016), which leaves none",
    )
    downsampling: Downsampling = Field("strided", description="how height and width are halved; CUT uses `blurred`")


class PixelNetworkConfig(BaseModel):
    """Size of the perceptron; the defaults make 1,283 weights, and 3,811 if it is conditioned on the image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pixel"] = "pixel"
    width: int = Field(32, ge=1, le=256, description="units of each hidden layer")
    layers: int = Field(2, ge=1, le=8, description="hidden layers")
    conditioned: bool = Field(False, description="whether an image's color statistics tune the hidden layers (FiLM)")


class ColorLutConfig(BaseModel):
    """Number and size of the tables; the defaults are the paper's three tables, at 17 instead of 33 points a side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lut"] = "lut"
    tables: int = Field(3, ge=1, le=16, description="tables mixed for each image; with 1, all images get the same map")
    points: int = Field(17, ge=2, le=65, description="points along each of red, green and blue")
    smoothness: float = Field(1.0, ge=0, description="weight, in the penalty, of squared steps between neighbors")
    monotonicity: float = Field(10.0, ge=0, description="weight, in the penalty, of outputs that fall as inputs rise")


class BilateralGridConfig(BaseModel):
    """Size of the grid and of the network that fills it; the defaults make 5,657 weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bilateral"] = "bilateral"
    depth: int = Field(8, ge=1, le=32, description="cells along the guide, which is close to the pixel's brightness")
    channels: int = Field(16, ge=1, le=256, description="filters of the last layers that process the thumbnail")


GeneratorConfig: TypeAlias = Annotated[
    ResnetGeneratorConfig | PixelNetworkConfig | ColorLutConfig | BilateralGridConfig,
    by_kind("resnet", ResnetGeneratorConfig, PixelNetworkConfig, ColorLutConfig, BilateralGridConfig),
]
"""The configuration of a generator; `resnet` where a section has no `kind`."""

DiscriminatorNorm = Literal["instance", "spectral", "none"]

NORM_USE = (
    "instance, as in the reference code, removes the image's color statistics from the discriminator's features; "
    "spectral (Miyato et al. 2018) and none keep them, which a discriminator of stain needs"
)


class PatchDiscriminatorConfig(BaseModel):
    """Size of the discriminator; the defaults are `basic` of the reference code, with a receptive field of 70 px."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["patch"] = "patch"
    channels: int = Field(64, ge=1, le=1024, description="filters of the first layer")
    layers: int = Field(3, ge=1, le=5, description="halving layers; the receptive field is 70 px with 3, 34 with 2")
    norm: DiscriminatorNorm = Field("instance", description=NORM_USE)
    downsampling: Downsampling = Field("strided", description="how those layers halve; CUT uses `blurred`")


class PixelDiscriminatorConfig(BaseModel):
    """Size of the discriminator of single pixels, which scores colors alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pixel"] = "pixel"
    channels: int = Field(32, ge=1, le=1024, description="units of each hidden layer")
    layers: int = Field(2, ge=1, le=8, description="hidden layers")
    norm: Literal["spectral", "none"] = Field("none", description="spectral bounds the Lipschitz constant")


class MultiScaleDiscriminatorConfig(BaseModel):
    """One patch discriminator for each size of the image, and optionally a discriminator of single pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["multi-scale"] = "multi-scale"
    channels: int = Field(16, ge=1, le=1024, description="filters of the first layer of each patch discriminator")
    layers: int = Field(2, ge=1, le=5, description="layers of each that halve the picture")
    scales: int = Field(3, ge=1, le=5, description="sizes: the image itself, its half, its quarter, ...")
    colors: bool = Field(False, description="whether to add a discriminator of single pixels")
    norm: DiscriminatorNorm = Field("none", description=NORM_USE)


DiscriminatorConfig: TypeAlias = Annotated[
    PatchDiscriminatorConfig | PixelDiscriminatorConfig | MultiScaleDiscriminatorConfig,
    by_kind("patch", PatchDiscriminatorConfig, PixelDiscriminatorConfig, MultiScaleDiscriminatorConfig),
]
"""The configuration of a discriminator; `patch` where a section has no `kind`."""

UnetNorm: TypeAlias = Annotated[
    Literal["batch", "instance"],
    Field(description="batch: statistics of the batch in training, fixed ones afterwards; instance: of each image"),
]


class UnetConfig(BaseModel):
    """Size of the U-Net; the defaults are `unet_256` of the pix2pix reference code, with 64 filters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unet"] = "unet"
    channels: int = Field(64, ge=1, le=512, description="filters of the first level; they double up to eightfold")
    levels: int = Field(8, ge=2, le=10, description="how often the picture is halved; 8 levels reduce 256 px to 1 px")
    norm: UnetNorm = "batch"
    dropout: bool = Field(True, description="dropout of 0.5 in training, in the levels beyond the fifth")
    upsampling: Literal["transposed", "resize"] = Field(
        "transposed", description="transposed convolutions as in the reference code, or resize-convolutions"
    )

    @property
    def stride(self) -> int:
        """Height and width must be multiples of this."""
        return 1 << self.levels

    @property
    def least_px(self) -> int:
        """Height and width must be at least this."""
        return self.stride


class ResnetUnetConfig(BaseModel):
    """Size of the network; the defaults are the encoder of ResNet-34 (He et al. 2016, doi:10.1109/CVPR.2016.90)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["resnet-unet"] = "resnet-unet"
    channels: int = Field(64, ge=1, le=512, description="filters of the first stage; each further stage doubles them")
    blocks: tuple[int, ...] = Field((3, 4, 6, 3), min_length=1, max_length=5, description="residual blocks per stage")
    norm: UnetNorm = "batch"

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if not all(1 <= count <= 36 for count in self.blocks):
            raise ValueError(f"expected 1 to 36 blocks in each stage, got {self.blocks}")
        return self

    @property
    def stride(self) -> int:
        """Height and width must be multiples of this: the stem, a pool and each stage but the first halve them."""
        return 1 << (len(self.blocks) + 1)

    @property
    def least_px(self) -> int:
        """Height and width must be at least this: the innermost map needs more than one pixel for its norm."""
        return 2 * self.stride


BackboneConfig: TypeAlias = Annotated[UnetConfig | ResnetUnetConfig, by_kind("unet", UnetConfig, ResnetUnetConfig)]
"""The configuration of a U-Net; `unet` where a section has no `kind`."""
