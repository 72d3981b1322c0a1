"""The presets of translators: complete settings that a recipe selects by name. Imports no PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator

from hemabridge.networks.config import (
    BilateralGridConfig,
    ColorLutConfig,
    GeneratorConfig,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    PixelNetworkConfig,
    ResnetGeneratorConfig,
    ResnetUnetConfig,
)
from hemabridge.training.config import OptimizerConfig
from hemabridge.translators.config import TranslatorConfig, WatchdogConfig
from hemabridge.translators.objective_config import (
    ColorizationConfig,
    ContrastiveConfig,
    CycleGanConfig,
    DistillationConfig,
    GrayThenColorConfig,
    TargetOnlyConfig,
)


@dataclass(frozen=True)
class Preset:
    """A translator with all of its settings.

    Attributes:
        use: one line on when to use it.
        config: its settings; a recipe may change each of them.
    """

    use: str
    config: TranslatorConfig


FASTCUT = ContrastiveConfig(contrast_weight=10.0, identity=False, flip_equivariance=True)

SMALL_CUT = ContrastiveConfig(
    generator=ResnetGeneratorConfig(channels=16, blocks=4, downsampling="blurred", upsampling="bilinear"),
    discriminator=PatchDiscriminatorConfig(channels=16, layers=1),
    layers=("pixels", "down-1", "down-2", "block-1", "block-4"),
    projection_width=64,
    patches=128,
    contrast_weight=5.0,
)
"""CUT at a size that one core trains in minutes; a short training needs a larger contrast weight to keep structure."""

_SMALL_DISCRIMINATOR = PatchDiscriminatorConfig(channels=16, layers=2)

_SMALL_UNET = ResnetUnetConfig(channels=16, blocks=(1, 1, 1))

SMALL_COLORIZATION = ColorizationConfig(backbone=_SMALL_UNET, discriminator=_SMALL_DISCRIMINATOR)
"""About 90 seconds on one core at 64 px. The last layer of its U-Net gets the input image, which avoids a pixel grid.
It has batch norm, because with instance norm colors of another hospital's images left the gamut."""

SMALL_GRAY_THEN_COLOR = GrayThenColorConfig(
    fading=_SMALL_UNET, coloring=_SMALL_UNET, discriminator=_SMALL_DISCRIMINATOR
)
"""About three minutes on one core at 64 px."""

SMALL_TRAINING = TranslatorConfig(
    load_px=72,
    crop_px=64,
    batch_size=8,
    learning_rate=4e-4,
    epoch_images=500,
    constant_epochs=10,
    decay_epochs=10,
    stepping="corrected",
    average_half_life_images=400,
)
"""The training of the small colorization models: 10,000 images."""


def _color_training(generator: GeneratorConfig, epochs: int) -> TranslatorConfig:
    """Return the training of a color generator: 25 steps per epoch, each on 64 cells at every eighth row and column.

    Many cells per step matter more than many pixels, because the colors of few cells differ from those of their site.
    Generators that depend on a summary of the image are trained for half as long. Later they begin to learn which
    cell class is more frequent at a site.
    """
    return TranslatorConfig(
        model=CycleGanConfig(
            generator=generator,
            discriminator=PixelDiscriminatorConfig(),
            transport_weight=2.0,
            cycle_weight=0.1,
            identity_weight=0.1,
        ),
        load_px=96,
        crop_px=96,
        stride=8,
        batch_size=64,
        learning_rate=1e-2,
        epoch_images=1600,
        constant_epochs=epochs // 2,
        decay_epochs=epochs // 2,
        stepping="corrected",
        snapshot_every_epochs=5,
        average_half_life_images=1500,
    )


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "film": Preset(
            "after normalizers; moves nothing, one minute; can tint the glass at sites with two colors of glass",
            _color_training(PixelNetworkConfig(conditioned=True), epochs=10),
        ),
        "pixel": Preset(
            "as film, if all images of the site look alike: one color map for all of them",
            _color_training(PixelNetworkConfig(), epochs=20),
        ),
        "lut": Preset(
            "as film, if regions of color must change independently; can draw contours",
            _color_training(ColorLutConfig(), epochs=10),
        ),
        "bilateral": Preset(
            "as film, if illumination or thickness varies across an image; can draw haloes",
            _color_training(BilateralGridConfig(), epochs=10),
        ),
        "target-only": Preset(
            "for unseen hospitals: trained on the target alone; measures how far a site is from its training",
            TranslatorConfig(
                model=TargetOnlyConfig(),
                load_px=96,
                crop_px=96,
                learning_rate=3e-3,
                epoch_images=100,
                constant_epochs=4,
                decay_epochs=16,
                stepping="corrected",
                snapshot_every_epochs=20,
                average_half_life_images=50,
                optimizer=OptimizerConfig(beta2=0.99, weight_decay=0.01),
            ),
        ),
        "distillation": Preset(
            "copies any other re-stainer into a color model: hundreds of images per second; own recipe",
            TranslatorConfig(
                model=DistillationConfig(),
                load_px=96,
                crop_px=48,
                batch_size=8,
                learning_rate=5e-3,
                epoch_images=500,
                constant_epochs=4,
                decay_epochs=16,
                stepping="corrected",
                snapshot_every_epochs=10,
                average_half_life_images=400,
                optimizer=OptimizerConfig(),
            ),
        ),
        "colorization-cpu": Preset(
            "to compare with the paper's ColorizationGAN on two cores; predicts colors from luminance",
            SMALL_TRAINING.model_copy(update={"model": SMALL_COLORIZATION}),
        ),
        "gray-then-color": Preset(
            "as colorization-cpu, through a learned gray, for unseen sites",
            SMALL_TRAINING.model_copy(update={"model": SMALL_GRAY_THEN_COLOR}),
        ),
        "cut-cpu": Preset(
            "to compare with CUT on two cores; one direction only; may change anything",
            TranslatorConfig(
                model=SMALL_CUT,
                load_px=72,
                crop_px=64,
                epoch_images=100,
                constant_epochs=3,
                decay_epochs=3,
                stepping="corrected",
                snapshot_every_epochs=2,
                average_half_life_images=100,
            ),
        ),
        "cyclegan-cpu": Preset(
            "to compare with CycleGAN in about half an hour on two cores; may change anything",
            TranslatorConfig(
                model=CycleGanConfig(
                    generator=ResnetGeneratorConfig(channels=24, blocks=6),
                    discriminator=PatchDiscriminatorConfig(channels=32, layers=3),
                ),
                load_px=108,
                crop_px=96,
                epoch_images=250,
                constant_epochs=12,
                decay_epochs=12,
                stepping="corrected",
                snapshot_every_epochs=2,
                average_half_life_images=200,
            ),
        ),
        "cyclegan-demo": Preset(
            "a CycleGAN of a few minutes, for the demo and for trying things out",
            TranslatorConfig(
                model=CycleGanConfig(
                    generator=ResnetGeneratorConfig(channels=16, blocks=4),
                    discriminator=PatchDiscriminatorConfig(channels=16, layers=2),
                ),
                load_px=72,
                crop_px=64,
                epoch_images=200,
                constant_epochs=3,
                decay_epochs=3,
                stepping="corrected",
                snapshot_every_epochs=2,
                average_half_life_images=100,
            ),
        ),
        "cyclegan-resize": Preset(
            "as cyclegan-demo, without dots from transposed convolutions; its discriminator uses colors",
            TranslatorConfig(
                model=CycleGanConfig(
                    generator=ResnetGeneratorConfig(channels=16, blocks=4, upsampling="nearest"),
                    discriminator=PatchDiscriminatorConfig(channels=16, layers=2, norm="none"),
                ),
                load_px=72,
                crop_px=64,
                epoch_images=200,
                constant_epochs=2,
                decay_epochs=1,
                stepping="corrected",
                snapshot_every_epochs=1,
                average_half_life_images=100,
            ),
        ),
        "synthesis-cpu": Preset(
            "translates class to class, not site to site: moves nuclei on purpose",
            TranslatorConfig(
                model=CycleGanConfig(
                    generator=ResnetGeneratorConfig(channels=16, blocks=4, upsampling="nearest"),
                    discriminator=PatchDiscriminatorConfig(channels=16, layers=3, norm="none"),
                    cycle_weight=5.0,
                    identity_weight=0.0,
                ),
                load_px=72,
                crop_px=64,
                learning_rate=4e-4,
                epoch_images=500,
                constant_epochs=6,
                decay_epochs=4,
                stepping="corrected",
                snapshot_every_epochs=2,
                average_half_life_images=300,
                watchdog=WatchdogConfig(on_fault="ignore"),
            ),
        ),
        "paper-cyclegan": Preset("the paper's CycleGAN, exactly; needs a GPU", TranslatorConfig()),
        "paper-colorization": Preset(
            "the paper's ColorizationGAN, as far as it is described; needs a GPU",
            TranslatorConfig(model=ColorizationConfig()),
        ),
        "paper-cut": Preset(
            "CUT as its authors trained it; needs a GPU",
            TranslatorConfig(model=ContrastiveConfig(), constant_epochs=200, decay_epochs=200, stepping="corrected"),
        ),
        "paper-fastcut": Preset(
            "FastCUT as its authors trained it: faster than CUT, with weaker control of colors; needs a GPU",
            TranslatorConfig(model=FASTCUT, constant_epochs=150, decay_epochs=50, stepping="corrected"),
        ),
    }
)
"""Presets by name, the safest first; `hemabridge catalog` prints the names and when to use which."""


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    known = [name for name, preset in PRESETS.items() if not isinstance(preset.config.model, DistillationConfig)]
    if len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"expected different presets out of {', '.join(known)}, got {', '.join(names)}")
    return names


PresetNames = Annotated[tuple[str, ...], AfterValidator(_check_names)]
"""Different keys of `PRESETS` in settings, of translators that are trained on two sites."""
