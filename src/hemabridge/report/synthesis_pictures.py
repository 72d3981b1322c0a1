"""The pictures that the report of a synthesis shows."""

from dataclasses import dataclass

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.synthesis.results import Copy


@dataclass(frozen=True, eq=False)
class EpochCells:
    """The same cells at one epoch.

    Attributes:
        label: what the epoch is called.
        chosen: whether the numbers are of this one.
        synthetic: uint8[N, S, S, 3], what became of the sources.
        back: uint8[N, S, S, 3], what the other generator made of that again.
    """

    label: str
    chosen: bool
    synthetic: UInt8Images
    back: UInt8Images


@dataclass(frozen=True, eq=False)
class NearCell:
    """A synthetic cell and the training cell that it is most like, uint8[S, S, 3] each."""

    found: Copy
    synthetic: UInt8Image
    training: UInt8Image


@dataclass(frozen=True, eq=False)
class DirectionPictures:
    """All pictures of one direction.

    Attributes:
        sources: held-out cells, uint8[N, S, S, 3].
        epochs: the same cells at several epochs, earliest first.
        real: other held-out cells of the intended class, uint8[M, S, S, 3].
        nearest: copies, and the cells nearest to training cells.

    Raises:
        ValueError: an epoch shows other cells.
    """

    sources: UInt8Images
    epochs: tuple[EpochCells, ...]
    real: UInt8Images
    nearest: tuple[NearCell, ...]

    def __post_init__(self) -> None:
        for epoch in self.epochs:
            if epoch.synthetic.shape != self.sources.shape or epoch.back.shape != self.sources.shape:
                raise ValueError(
                    f"expected cells of shape {self.sources.shape} at {epoch.label}, got {epoch.synthetic.shape}"
                )
