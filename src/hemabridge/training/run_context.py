"""Where a training runs: device, processes, folder, seed and progress."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hemabridge.errors import InputError, RunError
from hemabridge.progress import Progress, prefixed, silent


def start_fabric(device: str = "auto") -> Fabric:
    """Return Fabric on one device, or on as many processes as `torchrun` started.

    `device` is cpu, cuda, mps, or auto for the best available. Under torchrun, gradients are averaged over the
    processes (gloo on CPUs, NCCL on GPUs).

    Raises:
        InputError: there is no such device, or fewer devices than processes.
    """
    try:
        if "LOCAL_WORLD_SIZE" not in os.environ:
            return Fabric(accelerator=device, devices=1)
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        fabric = Fabric(accelerator=device, devices=local, num_nodes=world // local, strategy="ddp")
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise InputError(
            f"expected a device of this machine (cpu, cuda, mps, auto), got {device!r}: {error}"
        ) from error
    fabric.launch()
    return fabric


def one_process(fabric: Fabric, work: str) -> None:
    """Make sure that work for one process was not started in several.

    Raises:
        RunError: there are several processes.
    """
    if fabric.world_size > 1:
        raise RunError(
            f"expected one process for {work}, got {fabric.world_size}; start it without torchrun "
            "(the training of a translator takes several)"
        )


@dataclass(frozen=True, eq=False)
class RunContext:
    """Where and how a model is trained.

    Attributes:
        folder: of the run; a second call with the same folder resumes it.
        fabric: device, precision and processes.
        seed: of all random draws.
        progress: called after each step.
    """

    folder: Path
    fabric: Fabric
    seed: int
    progress: Progress = silent

    def within(self, name: str, label: str | None = None) -> "RunContext":
        """Return the same context in a subfolder; progress is reported under `label`, if it is given."""
        progress = self.progress if label is None else prefixed(self.progress, label)
        return replace(self, folder=self.folder / name, progress=progress)

    def with_seed(self, seed: int) -> "RunContext":
        """Return the same context with another seed."""
        return replace(self, seed=seed)
