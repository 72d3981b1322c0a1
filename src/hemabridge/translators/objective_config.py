"""Settings of the objectives that train a translator, and of their networks. Imports no PyTorch."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hemabridge.networks.config import (
    BackboneConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminatorConfig,
    PixelNetworkConfig,
    ResnetGeneratorConfig,
    ResnetUnetConfig,
    UnetConfig,
    by_kind,
)
from hemabridge.storage.settings_file import each_once


class AugmentationConfig(BaseModel):
    """Differentiable augmentation. Color is not augmented by default, since a discriminator of stain depends on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symmetries: bool = Field(True, description="the eight turns and mirrorings of a square; a smear has no orientation")
    translation: float = Field(0.125, ge=0, le=0.5, description="largest move, as a share of the image's side")
    cutout: float = Field(0.0, ge=0, lt=1, description="side of the gray square, as a share of the image's side")
    brightness: float = Field(0.0, ge=0, le=1, description="largest change of brightness, as a share of half the range")


class CycleGanConfig(BaseModel):
    """Networks and loss weights; the defaults are those of the CycleGAN reference code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cyclegan"] = "cyclegan"
    generator: GeneratorConfig = ResnetGeneratorConfig()
    discriminator: DiscriminatorConfig = PatchDiscriminatorConfig()
    adversarial_weight: float = Field(
        1.0, ge=0, description="weight of the adversarial loss; 0 trains without discriminators"
    )
    transport_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the sliced Wasserstein distance between the colors of re-stained and real images: "
        "more stable than discriminators, but independent of which structure has a color",
    )
    cycle_weight: float = Field(10.0, ge=0, description="weight of the L1 distance after both translations")
    identity_weight: float = Field(
        0.5,
        ge=0,
        description="weight of the L1 distance of a translated target image to itself, as a part of cycle_weight",
    )
    penalty_weight: float = Field(
        1.0, ge=0, description="weight of the roughness of a color map; no effect on generators without one"
    )
    augmentation: AugmentationConfig | None = Field(
        None, description="augmentation of the discriminators' input, for sites with few images; none if not given"
    )
    pool_size: int = Field(
        50, ge=0, description="earlier generated images kept per direction for the discriminators; 0 uses only new ones"
    )


class ColorizationConfig(BaseModel):
    """Luminance to color; the defaults are the colorization model of the reference code, with matching and jitter.

    The paper that this follows uses "ColorizationGAN" and does not describe its network, its training data, the number
    of epochs, or how luminance is transferred between hospitals. The defaults are those of the `colorization` model in
    the repository that its group used for CycleGAN (junyanz, 2020: `unet_256`, 256 px, batch 1, 100 + 100 epochs).
    Matching and jitter of the luminance are added; `match_luminance` false and `jitter` 0 switch them off.

    `output` "ab", the default, keeps the luminance and predicts only a and b, so that a nucleus cannot be moved. "rgb"
    predicts all three channels from the gray picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["colorization"] = "colorization"
    output: Literal["ab", "rgb"] = "ab"
    backbone: BackboneConfig = UnetConfig()
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distance to the true color")
    match_luminance: bool = Field(True, description="whether the source's luminance gets the target's distribution")
    jitter: float = Field(
        0.1, ge=0, le=1, description="jitter of brightness in training: gain and gamma between e^-jitter and e^jitter"
    )
    hint_px: int | None = Field(
        None,
        ge=2,
        description="side of the squares over which the source's chroma, in standard deviations of its site, is "
        "averaged as a hint to the color; by default there is no hint",
    )
    hint_jitter: float = Field(0.3, ge=0, le=1, description="largest shift and log gain of the hint in training")


class GrayThenColorConfig(BaseModel):
    """Color to an adaptive gray, and that to color (Barrera et al. 2023, doi:10.1016/j.cmpb.2023.107629).

    The implementation follows the abstract of the paper: two pix2pix models, U-Nets with ResNet, trained on images of
    the reference center alone. The abstract does not describe how the first model is trained for colors of other
    centers. Here it maps target images with randomly changed colors to the gray of the unchanged image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gray-then-color"] = "gray-then-color"
    fading: BackboneConfig = ResnetUnetConfig()
    coloring: BackboneConfig = ResnetUnetConfig()
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distances to the true gray and color")
    jitter: float = Field(
        0.5, ge=0, le=1, description="strength of the color changes in training: gamma and white of each channel"
    )


LayerName = Annotated[str, Field(pattern=r"^(pixels|down-1|down-2|block-[1-9][0-9]*)$")]


class ContrastiveConfig(BaseModel):
    """Networks and losses; the defaults are those of CUT in its reference code.

    FastCUT is `contrast_weight` 10, `identity` false and `flip_equivariance` true. A section `generator` or
    `discriminator` replaces the whole default section, including its `downsampling` and `upsampling`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["contrastive"] = "contrastive"
    generator: ResnetGeneratorConfig = ResnetGeneratorConfig(downsampling="blurred", upsampling="bilinear")
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig(downsampling="blurred")
    layers: Annotated[tuple[LayerName, ...], AfterValidator(each_once)] = Field(
        ("pixels", "down-1", "down-2", "block-1", "block-5"),
        min_length=1,
        description="layers of the generator at which an image and its translation are compared",
    )
    projection_width: int = Field(256, ge=1, le=4096, description="length of a patch's feature vector")
    patches: int = Field(256, ge=2, le=65_536, description="positions compared in each layer of each image")
    temperature: float = Field(0.07, gt=0, description="of the contrastive loss")
    contrast_weight: float = Field(1.0, gt=0, description="weight of the contrastive loss")
    identity: bool = Field(
        True,
        description="whether target images, which should not change, are compared too, with half of the weight",
    )
    flip_equivariance: bool = Field(
        False, description="whether half of the steps translate the mirrored image and compare it with the original"
    )

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        blocks = [int(name.removeprefix("block-")) for name in self.layers if name.startswith("block-")]
        if max(blocks, default=0) > self.generator.blocks:
            raise ValueError(
                f"expected layers up to block-{self.generator.blocks}, the last block of the generator, "
                f"got block-{max(blocks)}"
            )
        return self


class TargetOnlyConfig(BaseModel):
    """A color network that is tuned by a site's appearance descriptor, and the random hospitals of its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["target-only"] = "target-only"
    width: int = Field(32, ge=1, le=256, description="units of each hidden layer of the color network")
    layers: int = Field(3, ge=1, le=8, description="hidden layers of the color network")
    tuner_width: int = Field(
        96, ge=1, le=512, description="hidden units of the network from the descriptor to the tuning of the layers"
    )
    hospitals: int = Field(320, ge=10, le=5000, description="random hospitals, of which a tenth is held out")
    hospital_images: int = Field(8, ge=1, le=200, description="target images that are restyled for each hospital")
    strength: float = Field(1.0, gt=0, le=1, description="how much the hospitals differ from the target, up to 1")
    step_hospitals: int = Field(64, ge=1, le=1024, description="random hospitals per step")
    pixels: int = Field(128, ge=1, le=4096, description="pixels of each hospital per step")
    site: Literal["source", "image"] = Field(
        "source",
        description="descriptor that tunes the network: that of the whole source site, or that of each image",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the random hospitals")


class DistillationConfig(BaseModel):
    """The student; by default a network of 1x1 convolutions with 1,283 weights, as StainNet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["distillation"] = "distillation"
    generator: GeneratorConfig = PixelNetworkConfig()
    l1_weight: float = Field(1.0, gt=0, description="weight of the L1 distance to the teacher's output")


ModelConfig: TypeAlias = Annotated[
    CycleGanConfig
    | ColorizationConfig
    | GrayThenColorConfig
    | ContrastiveConfig
    | TargetOnlyConfig
    | DistillationConfig,
    by_kind(
        "cyclegan",
        CycleGanConfig,
        ColorizationConfig,
        GrayThenColorConfig,
        ContrastiveConfig,
        TargetOnlyConfig,
        DistillationConfig,
    ),
]
"""The settings of any translator; `cyclegan` if a section has no `kind`."""


def method_name(config: ModelConfig) -> str:
    """Return the name of a translator in results and reports: its objective, or its color generator.

    A CycleGAN that can only change colors is a different method than one that can redraw the cell. It is therefore
    named by its generator, like its preset: `pixel`, `film`, `lut`, `bilateral`. Other objectives with an unusual
    generator are named by both, such as `distillation bilateral`.
    """
    generator: GeneratorConfig | None = getattr(config, "generator", None)
    usual: GeneratorConfig | None = getattr(type(config)(), "generator", None)
    if generator is None or usual is None or _generator_name(generator) == _generator_name(usual):
        return config.kind
    name = _generator_name(generator)
    return name if isinstance(config, CycleGanConfig) else f"{config.kind} {name}"


def _generator_name(config: GeneratorConfig) -> str:
    return "film" if isinstance(config, PixelNetworkConfig) and config.conditioned else config.kind
