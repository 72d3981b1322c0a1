"""The pooling of predictions: over classifiers and views, over color and shape members, and with one classifier."""

from collections.abc import Sequence

import numpy as np

from hemabridge.classifiers.protocol import Classifier, Probabilities, mean_of, mirrored_views
from hemabridge.imaging.standardizer import UInt8Images

LEAST_PROBABILITY = 1e-3
"""Smallest probability of a class in the logarithmic pool, so that one group of members cannot exclude a class."""


def mean_prediction(classifiers: Sequence[Classifier], images: UInt8Images, *, mirrored: bool = True) -> Probabilities:
    """Return the mean prediction, float32[N, C], over classifiers and over views of each image.

    Args:
        classifiers: at least one, all of the same classes.
        images: uint8[N, S, S, 3].
        mirrored: whether the four `mirrored_views` are shown, or the image alone.
    """
    views = mirrored_views(images) if mirrored else (images,)
    return mean_of([classifier.probabilities(view) for view in views for classifier in classifiers])


def with_one_classifier(ensemble: Probabilities, classifier: Probabilities) -> Probabilities:
    """Return the prediction, float32[N, C], of an ensemble together with the classifier that was distilled from it.

    It is the mean of both. Their errors differ: the ensemble predicts each cell by itself, the classifier learned from
    its predictions of all.

    Args:
        ensemble: float32[N, C].
        classifier: float32[N, C], of the same images.

    Example:
        >>> import numpy as np
        >>> with_one_classifier(np.float32([[0.5, 0.5]]), np.float32([[1.0, 0.0]])).tolist()
        [[0.75, 0.25]]
    """
    return mean_of([ensemble, classifier])


def logarithmic_pool(first: Probabilities, second: Probabilities, weight: float) -> Probabilities:
    """Return the logarithmic opinion pool of two predictions, float32[N, C]: p1^(1 - w) p2^w, normalized.

    Genest & Zidek 1986, doi:10.1214/ss/1177013825. A class to which either prediction gives almost no probability is
    not predicted.

    Args:
        first: float32[N, C], rows sum to 1.
        second: float32[N, C], rows sum to 1.
        weight: weight of `second`, 0..1.
    """
    logs = [np.log(np.maximum(each, LEAST_PROBABILITY), dtype=np.float64) for each in (first, second)]
    pooled = np.exp((1 - weight) * logs[0] + weight * logs[1])
    normalized: Probabilities = (pooled / pooled.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalized
