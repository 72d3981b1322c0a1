"""A classifier, as the training loop sees it."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import ClassifierNetwork
from hemabridge.losses.formulas import focal_loss
from hemabridge.training.objective import Batch, Phase, Terms


class ClassifierObjective:
    """One phase that trains `body` and `head` on batches of `images` float[B, 3, S, S] and `labels` int64[B].

    While the loop holds the body frozen, its batch norm uses and keeps the statistics it came with; with
    `frozen_batch_norm` it does so all the time.
    """

    def __init__(self, network: ClassifierNetwork, config: ClassifierConfig) -> None:
        self.network = network
        self.config = config
        self.nets: dict[str, nn.Module] = {"body": network.body, "head": network.head}
        self.phases = (Phase("classify", ("body", "head"), self._losses),)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits float[B, classes] and the labels."""
        learns = any(parameter.requires_grad for parameter in self.network.body.parameters())
        self.network.body.train(learns)
        if self.config.frozen_batch_norm:
            for module in self.network.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self.network(batch["images"]), batch["labels"]

    def _losses(self, labeled: tuple[Tensor, Tensor]) -> Terms:
        logits, labels = labeled
        if self.config.loss == "focal":
            return {"focal": focal_loss(logits, labels, self.config.focal_gamma)}
        return {"cross_entropy": cross_entropy(logits, labels)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: all state is in the nets."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""
