"""A small adversarial objective with everything that makes resuming hard: two phases, a pool, dropout, averages."""

from collections.abc import Iterator, Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hemabridge.training.config import LoopConfig, OptimizerConfig
from hemabridge.training.loop import Training
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.training.schedules import ConstantThenLinear
from hemabridge.training.tensorfile import Header
from hemabridge.translators.cyclegan import ReplayPool

TOTAL, BATCH = 64, 2


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class ToyObjective:
    def __init__(self) -> None:
        self.maker = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
        self.discriminator = nn.Conv2d(3, 1, 3)
        self.nets = {"maker": self.maker, "discriminator": self.discriminator}
        self.phases = (Phase("make", ("maker",), self.make), Phase("discriminator", ("discriminator",), self.tell))
        self.pool = ReplayPool(4)
        self.seen: list[Tensor] = []

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.seen.append(batch["x"].clone())
        return batch["x"], self.maker(batch["x"])

    def make(self, images: tuple[Tensor, Tensor]) -> Terms:
        return {"fool": ((self.discriminator(images[1]) - 1) ** 2).mean(), "stay": (images[1] - images[0]).abs().mean()}

    def tell(self, images: tuple[Tensor, Tensor]) -> Terms:
        real, fake = images
        fake = self.pool.query(fake.detach())
        return {"discriminator": ((self.discriminator(real) - 1) ** 2).mean() + (self.discriminator(fake) ** 2).mean()}

    def state_dict(self) -> dict[str, Tensor]:
        return self.pool.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.pool.load_state_dict(dict(state))


def batches(images: int) -> Iterator[Batch]:
    while True:
        generator = torch.Generator().manual_seed(images)
        yield {"x": torch.rand(BATCH, 3, 8, 8, generator=generator)}
        images += BATCH


def toy_training(objective: ToyObjective | None = None, **changes: object) -> tuple[ToyObjective, Training]:
    if objective is None:
        torch.manual_seed(0)
        objective = ToyObjective()
    loop = LoopConfig(
        total_images=TOTAL,
        batch_size=BATCH,
        epoch_images=16,
        snapshot_images=(16, 32),
        average_half_life_images=8,
        log_every_images=BATCH,
        seed=3,
        optimizer=OptimizerConfig(beta1=0.5),
    )
    schedule = ConstantThenLinear(1e-2, 16, 2, 2)
    training = Training(
        objective=objective,
        batches=batches,
        schedules=dict.fromkeys(objective.nets, schedule),
        loop=loop.model_copy(update=changes),
        averaged=("maker",),
        identity={"recipe": "toy"},
        about=Header(kind="toy"),
    )
    return objective, training
