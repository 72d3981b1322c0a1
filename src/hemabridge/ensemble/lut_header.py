"""What the snapshot of a learned LUT says of itself."""

from typing import Literal

from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.training.tensorfile import Header


class LutHeader(Header):
    """The header of a snapshot of a learned LUT's training; what is used later is the normalizer's JSON.

    Attributes:
        config: how it was learned.
        seed: of the training.
        learned_for: SHA-256 of the classifier's weights.
        seen: SHA-256 of the files that it was learned on.
    """

    kind: Literal["learned-lut"] = "learned-lut"
    config: LearnedLutConfig
    seed: int
    learned_for: str
    seen: tuple[str, ...] = ()
