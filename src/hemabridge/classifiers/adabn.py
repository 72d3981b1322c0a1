"""AdaBN: batch norm statistics are replaced by those of the images that are to be classified (Li et al. 2018)."""

import copy

import torch
from torch import nn

from hemabridge.classifiers.classifier import BATCH_SIZE, NetworkClassifier
from hemabridge.classifiers.network import has_batch_norm
from hemabridge.classifiers.protocol import AlignedClassifier, Classifier
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images


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
