"""AdaBN: batch norm statistics are replaced by those of the images that are to be classified (Li et al. 2018)."""

import copy
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from hemabridge.classifiers.classifier import BATCH_SIZE, NetworkClassifier
from hemabridge.classifiers.network import has_batch_norm
from hemabridge.classifiers.protocol import AlignedClassifier, Classifier
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.standardizer import UInt8Images

_STATISTICS: Final = (".running_mean", ".running_var")


def adabn(classifier: Classifier, images: UInt8Images) -> Classifier | None:
    """Return a copy of a classifier with the batch norm statistics of these images, or None if it has no batch norm.

    Args:
        classifier: stays as it is.
        images: uint8[N, S, S, 3], RGB; their labels are not needed.


    Raises:
        InputError: fewer than two images.
    """
    if isinstance(classifier, AlignedClassifier):
        inner = adabn(classifier.inner, images)
        return None if inner is None else AlignedClassifier(inner, classifier.classes)
    if not isinstance(classifier, NetworkClassifier) or not has_batch_norm(classifier.network):
        return None
    return with_statistics_of(classifier, images)


@torch.no_grad()
def with_statistics_of(classifier: NetworkClassifier, images: UInt8Images) -> NetworkClassifier:
    """Return a copy whose batch norm has mean and variance of these images, uint8[N, S, S, 3]; no label is used.

    AdaBN (Li et al. 2018, doi:10.1016/j.patcog.2018.03.005). Each batch has the same weight. AdaBN helps where nothing
    else is done against a domain shift. It can lower the accuracy on images that are re-stained well.

    Raises:
        InputError: fewer than two images, or a network without batch norm.
    """
    network = copy.deepcopy(classifier.network)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if len(images) < 2 or not norms:
        raise InputError(
            f"expected two images and a network with batch norm, got {len(images)} images, {len(norms)} norms"
        )
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    batches = max(1, len(images) // BATCH_SIZE)
    for start in range(batches):
        batch = classifier.preprocessing(images[start::batches])
        network(torch.from_numpy(batch))
    return NetworkClassifier(network, classifier.preprocessing, classifier.classes, classifier.name)


def statistics_of(classifier: Classifier) -> dict[str, torch.Tensor]:
    """Return running means and variances of a classifier's batch norm by their names; empty without batch norm."""
    if isinstance(classifier, AlignedClassifier):
        return statistics_of(classifier.inner)
    if not isinstance(classifier, NetworkClassifier):
        return {}
    return {name: value for name, value in classifier.network.state_dict().items() if name.endswith(_STATISTICS)}


def with_statistics(classifier: Classifier, statistics: Mapping[str, torch.Tensor]) -> Classifier:
    """Return a copy of a classifier with batch norm statistics that `statistics_of` returned.

    Raises:
        ModelError: the statistics are not those of this architecture.
    """
    if isinstance(classifier, AlignedClassifier):
        return AlignedClassifier(with_statistics(classifier.inner, statistics), classifier.classes)
    own = statistics_of(classifier)
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in statistics.items()}
    finite = all(bool(value.isfinite().all()) for value in statistics.values())
    if not isinstance(classifier, NetworkClassifier) or not own or shapes != found or not finite:
        raise ModelError(
            f"expected finite batch norm statistics of {classifier.name} ({len(own)} tensors), got {len(found)} "
            "tensors of another classifier or damaged ones; fit the ensemble again"
        )
    network = copy.deepcopy(classifier.network)
    network.load_state_dict({**network.state_dict(), **statistics})
    return NetworkClassifier(network, classifier.preprocessing, classifier.classes, classifier.name)
