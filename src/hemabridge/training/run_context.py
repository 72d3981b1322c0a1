"""What every training shares, as one argument."""

from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.progress import Progress, prefixed, silent


@dataclass(frozen=True, eq=False)
class RunContext:
    """Where and how something is trained.

    Attributes:
        folder: gets the run; the same call goes on with what was begun there.
        fabric: device, precision and processes.
        seed: of all draws.
        progress: called after each step.
    """

    folder: Path
    fabric: Fabric
    seed: int
    progress: Progress = silent

    def within(self, name: str, label: str | None = None) -> "RunContext":
        """Return the same context in a folder below, whose progress is told of as a part named `label`, if given."""
        progress = self.progress if label is None else prefixed(self.progress, label)
        return replace(self, folder=self.folder / name, progress=progress)

    def with_seed(self, seed: int) -> "RunContext":
        """Return the same context with another seed."""
        return replace(self, seed=seed)
