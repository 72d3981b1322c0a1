"""The device, and the processes, that a training runs on."""

import os

from lightning_fabric import Fabric


def start_fabric(device: str = "auto") -> Fabric:
    """Return Fabric on one device, or on as many processes as `torchrun` started.

    `device` is cpu, cuda, mps, or auto for the best there is. Started by torchrun, gradients are averaged over its
    processes (gloo on CPUs, NCCL on GPUs).
    """
    if "LOCAL_WORLD_SIZE" not in os.environ:
        return Fabric(accelerator=device, devices=1)
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    fabric = Fabric(accelerator=device, devices=local, num_nodes=world // local, strategy="ddp")
    fabric.launch()
    return fabric
