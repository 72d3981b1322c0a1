"""What training asks of a translator beyond what the loop asks of every model."""

from typing import Protocol

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.objective import Objective


class TranslatorObjective(Objective, Protocol):
    """A translator to train. The net that re-stains is called `to_target`, and the other direction `to_source`."""

    @property
    def averaged(self) -> tuple[str, ...]:
        """The nets that re-stain: their moving average is kept, and each is a direction that snapshots offer."""
        ...

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Take from the training cells, uint8[N, H, W, 3], once before training, what goes into buffers."""
        ...
