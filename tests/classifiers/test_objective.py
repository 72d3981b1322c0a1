import copy

import torch
from lightning_fabric import Fabric
from torch.nn.functional import cross_entropy

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network
from hemabridge.classifiers.objective import ClassifierObjective
from hemabridge.losses.formulas import focal_loss
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.schedules import OneCycle

ARCHITECTURE, SIZE_PX = "test_efficientnet", 32


def a_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"images": torch.rand(8, 3, SIZE_PX, SIZE_PX, generator=generator), "labels": torch.arange(8) % 2}


def test_a_frozen_body_keeps_weights_and_statistics_and_then_learns(cpu: Fabric) -> None:
    torch.manual_seed(0)
    objective = ClassifierObjective(new_network(ARCHITECTURE, SIZE_PX, 2), ClassifierConfig())
    schedules = {"body": OneCycle(1e-3, 80, start_images=16), "head": OneCycle(1e-3, 80)}
    engine = Engine(cpu, objective, OptimizerConfig(weight_decay=0.01), schedules)
    body, head = copy.deepcopy(objective.nets["body"].state_dict()), objective.network.head.weight.clone()

    def moved() -> list[str]:
        return [
            key for key, tensor in objective.nets["body"].state_dict().items() if not torch.equal(tensor, body[key])
        ]

    for images in (0, 8):
        engine.step(a_batch(), images)
    assert moved() == []
    assert not torch.equal(objective.network.head.weight, head)
    engine.step(a_batch(), 16)
    assert "conv_stem.weight" in moved()
    assert any(key.endswith("running_mean") for key in moved())


def test_losses_are_the_ones_of_the_config() -> None:
    torch.manual_seed(0)
    network = new_network(ARCHITECTURE, SIZE_PX, 2)
    for config in (ClassifierConfig(), ClassifierConfig(loss="focal", focal_gamma=1.5)):
        objective = ClassifierObjective(network, config)
        logits, labels = objective.forward(a_batch())
        terms = objective.phases[0].losses((logits, labels))
        expected = cross_entropy(logits, labels) if config.loss == "cross_entropy" else focal_loss(logits, labels, 1.5)
        assert list(terms) == [config.loss]
        torch.testing.assert_close(terms[config.loss], expected)


def test_frozen_batch_norm_keeps_its_statistics_while_all_weights_learn(cpu: Fabric) -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(frozen_batch_norm=True)
    objective = ClassifierObjective(new_network(ARCHITECTURE, SIZE_PX, 2), config)
    schedules = {name: OneCycle(1e-3, 80) for name in ("body", "head")}
    engine = Engine(cpu, objective, OptimizerConfig(weight_decay=0.01), schedules)
    before = copy.deepcopy(objective.nets["body"].state_dict())
    for images in (0, 8):
        engine.step(a_batch(), images)
    moved = [k for k, tensor in objective.nets["body"].state_dict().items() if not torch.equal(tensor, before[k])]
    assert "conv_stem.weight" in moved
    assert not [key for key in moved if "running" in key or "num_batches" in key]
