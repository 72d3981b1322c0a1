"""Run as a program, FOLDER WHICH...: toy trainings, one after the other, on as many processes as torchrun starts."""

import sys
from pathlib import Path

import torch
from torch import nn
from toy import ToyObjective, toy_training

from hemabridge.training.loop import Training, fit
from hemabridge.training.run_context import start_fabric
from hemabridge.translators.cyclegan import ReplayPool


class PlainObjective(ToyObjective):
    """Without dropout, batch statistics and pool, which are each process's own, two processes must do what one does."""

    def __init__(self) -> None:
        super().__init__()
        self.maker[1] = nn.Identity()
        self.maker[2] = nn.Identity()
        self.pool = ReplayPool(0)


def plain_training() -> Training:
    torch.manual_seed(0)
    return toy_training(objective=PlainObjective())[1]


if __name__ == "__main__":
    fabric = start_fabric("cpu")
    for which in sys.argv[2:]:
        training = plain_training() if which == "plain" else toy_training()[1]
        fit(training, Path(sys.argv[1]) / which, fabric)
