"""The judges that a translator may use, by their `kind`."""

from typing import Annotated, TypeAlias

from torch import nn

from hemabridge.networks.kinds import by_kind
from hemabridge.networks.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig

JudgeConfig: TypeAlias = Annotated[PatchDiscriminatorConfig, by_kind("patch", PatchDiscriminatorConfig)]
"""The configuration of a judge; `patch` where a section has no `kind`."""


def new_judge(config: JudgeConfig) -> nn.Module:
    """Make a judge: float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, 1, H', W']."""
    return PatchDiscriminator(config)
