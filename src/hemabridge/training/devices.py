"""The device, and the processes, that a training runs on."""

import os

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hemabridge.errors import InputError, RunError


def start_fabric(device: str = "auto") -> Fabric:
    """Return Fabric on one device, or on as many processes as `torchrun` started.

    `device` is cpu, cuda, mps, or auto for the best there is. Started by torchrun, gradients are averaged over its
    processes (gloo on CPUs, NCCL on GPUs).

    Raises:
        InputError: there is no such device, or not as many as processes.
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
    """Make sure that nobody started several processes for work that one does.

    Raises:
        RunError: there are several.
    """
    if fabric.world_size > 1:
        raise RunError(
            f"expected one process for {work}, got {fabric.world_size}; start it without torchrun "
            "(the training of a translator takes several)"
        )
