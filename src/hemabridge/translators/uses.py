"""When to use which preset of a translator. Nothing here needs PyTorch, so that it can be told without."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PRESET_USES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "film": "try this first: moves nothing, one minute, treats dark and pale images differently",
        "pixel": "as film, where all images of the site look alike: one color map for all of them",
        "lut": "as film, where regions of color must move independently; can draw contours",
        "bilateral": "as film, where light or thickness varies across an image; can draw haloes",
        "target-only": "hospitals that nobody has seen yet: learns from the target alone, says who is too far out",
        "distillation": "copies any other re-stainer into a color model: hundreds of images per second; own recipe",
        "colorization-cpu": "to compare with the paper's ColorizationGAN on two cores; guesses colors anew",
        "gray-then-color": "as colorization-cpu, by way of a learned gray, for sites never seen",
        "cut-cpu": "to compare with CUT on two cores; one direction only; may change anything",
        "cyclegan-cpu": "to compare with CycleGAN in about half an hour on two cores; may change anything",
        "cyclegan-demo": "a CycleGAN of a few minutes, for the demo and for trying things out",
        "cyclegan-resize": "as cyclegan-demo, without dots from transposed convolutions; its discriminator sees colors",
        "synthesis-cpu": "translates class to class, not site to site: moves nuclei on purpose",
        "paper-cyclegan": "the paper's CycleGAN to the letter; wants a GPU",
        "paper-colorization": "the paper's ColorizationGAN, as far as it is described; wants a GPU",
        "paper-cut": "CUT as its authors trained it; wants a GPU",
        "paper-fastcut": "FastCUT as its authors trained it: quicker than CUT, colors less held; wants a GPU",
    }
)
"""One line for each of `hemabridge.translators.config.PRESETS`, the safest first."""
