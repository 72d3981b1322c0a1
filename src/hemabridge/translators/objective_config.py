"""Settings of the objectives that train a translator, and of the networks in them. Free of PyTorch."""

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
    """What is varied. Color is not, unless asked for: it is what the discriminator of a stain must see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symmetries: bool = Field(True, description="the eight turns and mirrorings of a square; a smear has no upper side")
    translation: float = Field(0.125, ge=0, le=0.5, description="largest move, as a share of the image's side")
    cutout: float = Field(0.0, ge=0, lt=1, description="side of the gray square, as a share of the image's side")
    brightness: float = Field(0.0, ge=0, le=1, description="largest change of brightness, as a share of half the range")


class CycleGanConfig(BaseModel):
    """Networks and loss weights; the defaults are the reference's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cyclegan"] = "cyclegan"
    generator: GeneratorConfig = ResnetGeneratorConfig()
    discriminator: DiscriminatorConfig = PatchDiscriminatorConfig()
    adversarial_weight: float = Field(
        1.0, ge=0, description="weight of the discriminators' word; 0 trains without discriminators"
    )
    transport_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the sliced Wasserstein distance between the colors of re-stained and real images: "
        "steadier than discriminators, but blind to what wears a color",
    )
    cycle_weight: float = Field(10.0, ge=0, description="weight of the L1 distance after both translations")
    identity_weight: float = Field(
        0.5,
        ge=0,
        description="weight of the L1 distance of a translated target image to itself, as a part of cycle_weight",
    )
    penalty_weight: float = Field(
        1.0, ge=0, description="weight of the roughness of a color map; nothing without a generator that has one"
    )
    augmentation: AugmentationConfig | None = Field(
        None, description="how what the discriminators see is varied, for sites of few images; not at all if not given"
    )
    pool_size: int = Field(
        50, ge=0, description="earlier fakes kept per direction for the discriminators; 0 shows only new ones"
    )


class ColorizationConfig(BaseModel):
    """Luminance to color; the defaults are the reference's colorization model, with luminance matched and jittered.

    The paper that this follows names "ColorizationGAN" and says no more: not the network, not what it is trained on,
    not the number of epochs, not how luminance crosses from one hospital to the other. The defaults take the
    `colorization` model of the repository that its group used for CycleGAN (junyanz, 2020: `unet_256`, 256 px, batch
    1, 100 + 100 epochs). Matching and jitter are not in it; `match_luminance` false and `jitter` 0 leave them out.

    `output` "ab" keeps the luminance and predicts a and b alone: the default, because it cannot move a nucleus. "rgb"
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
        0.1, ge=0, le=1, description="brightness in training: gain and gamma, each between e^-jitter and e^jitter"
    )
    hint_px: int | None = Field(
        None,
        ge=2,
        description="side of the squares over which the source's own chroma, in standard deviations of its site, is "
        "averaged to hint at the color; none by default: luminance alone",
    )
    hint_jitter: float = Field(0.3, ge=0, le=1, description="in training: shift and log gain of the hint, at most")


class GrayThenColorConfig(BaseModel):
    """Color to an adaptive gray, and that to color (Barrera et al. 2023, doi:10.1016/j.cmpb.2023.107629).

    Only the abstract of the paper was read. It gives two pix2pix models, U-Nets with ResNet, and training on images of
    the reference center alone; how the first is trained to fade colors that it never sees, it does not say. Here:
    target images whose colors are changed at random, to the gray of the unchanged image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gray-then-color"] = "gray-then-color"
    fading: BackboneConfig = ResnetUnetConfig()
    coloring: BackboneConfig = ResnetUnetConfig()
    discriminator: PatchDiscriminatorConfig = PatchDiscriminatorConfig()
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distances to the true gray and color")
    jitter: float = Field(
        0.5, ge=0, le=1, description="changes of color in training: gamma of each channel's light, and of its white"
    )


LayerName = Annotated[str, Field(pattern=r"^(pixels|down-1|down-2|block-[1-9][0-9]*)$")]


class ContrastiveConfig(BaseModel):
    """Networks and losses; the defaults are those of CUT in its reference implementation.

    FastCUT is `contrast_weight` 10, `identity` false and `flip_equivariance` true. A section `generator` or
    `discriminator` that is given replaces the default's as a whole, its `downsampling` and `upsampling` too.
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
    projection_width: int = Field(256, ge=1, le=4096, description="numbers of a patch's vector")
    patches: int = Field(256, ge=2, le=65_536, description="places compared in each layer of each image")
    temperature: float = Field(0.07, gt=0, description="of the contrastive loss")
    contrast_weight: float = Field(1.0, gt=0, description="weight of the contrastive loss")
    identity: bool = Field(
        True,
        description="whether target images, which should stay as they are, are compared too, at half of the weight",
    )
    flip_equivariance: bool = Field(
        False, description="whether half of the steps translate the mirrored image and compare it with the image itself"
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
    """A color network tuned by a site's descriptor, and the hospitals that it learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["target-only"] = "target-only"
    width: int = Field(32, ge=1, le=256, description="units of each hidden layer of the color network")
    layers: int = Field(3, ge=1, le=8, description="its hidden layers")
    tuner_width: int = Field(
        96, ge=1, le=512, description="hidden units between a descriptor and the tuning of the layers"
    )
    hospitals: int = Field(320, ge=10, le=5000, description="random hospitals, of which a tenth is held out")
    hospital_images: int = Field(8, ge=1, le=200, description="target images that each of them photographs again")
    strength: float = Field(1.0, gt=0, le=1, description="how far from the target the hospitals are drawn; 1 is most")
    step_hospitals: int = Field(64, ge=1, le=1024, description="hospitals in a step, drawn again each time")
    pixels: int = Field(128, ge=1, le=4096, description="pixels of each of them")
    site: Literal["source", "image"] = Field(
        "source",
        description="whose descriptor tunes the network: that of the whole source site, or of each image for itself",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the random hospitals")


class DistillationConfig(BaseModel):
    """The student. By default a network of 1x1 convolutions, as StainNet is; theirs has 1,283 weights too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["distillation"] = "distillation"
    generator: GeneratorConfig = PixelNetworkConfig()
    l1_weight: float = Field(1.0, gt=0, description="weight of the L1 distance to what the teacher made")


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
"""The settings of any translator; `cyclegan` where a section has no `kind`."""


def method_name(config: ModelConfig) -> str:
    """Return what results and reports call a translator: its objective, or its color model where it has one.

    A CycleGAN that may only change colors is another method than one that may redraw the cell, so it is called by its
    generator, as its preset is: `pixel`, `film`, `lut`, `bilateral`. Other objectives with another generator than
    their usual one name both, as in `distillation bilateral`.
    """
    generator: GeneratorConfig | None = getattr(config, "generator", None)
    usual: GeneratorConfig | None = getattr(type(config)(), "generator", None)
    if generator is None or usual is None or _generator_name(generator) == _generator_name(usual):
        return config.kind
    name = _generator_name(generator)
    return name if isinstance(config, CycleGanConfig) else f"{config.kind} {name}"


def _generator_name(config: GeneratorConfig) -> str:
    return "film" if isinstance(config, PixelNetworkConfig) and config.conditioned else config.kind
