"""What an ensemble predicts for the cells of the other hospital before an expert labels any."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import classifiers_of
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.progress import Progress, counted, silent


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is predicted for the cells of the other hospital without its labels.

    Attributes:
        probabilities: float32[N, C].
        agreement: soft agreement of color and shape members, 0..1; None without shape members.
        features: those of the members, side by side, float32[N, D]; the distance of two cells tells how they differ.
    """

    probabilities: Probabilities
    agreement: float | None
    features: NDArray[np.float32]


def predicted_by(fitted: FittedEnsemble, images: UInt8Images, progress: Progress) -> Prediction:
    """Return what a fitted ensemble predicts for cells, uint8[N, S, S, 3]."""
    color, shape = fitted.group_predictions(images, progress)
    agreement = None if shape is None else soft_agreement(shape, color)
    members = classifiers_of((*fitted.color_members, *fitted.shape_members))
    return Prediction(fitted.pooled(color, shape), agreement, features_of(members, images, progress))


def features_of(
    classifiers: tuple[Classifier, ...], images: UInt8Images, progress: Progress = silent
) -> NDArray[np.float32]:
    """Return the classifiers' features of original images, side by side, float32[N, D].

    Those of each are centered and have a mean squared norm of 1, so that all count alike. A classifier that gives no
    features, such as an ONNX file, gives its probabilities.
    """
    found, passed = [], counted(progress, "comparing the cells, classifiers", len(classifiers))
    for each in classifiers:
        own = each.features(images) if isinstance(each, NetworkClassifier) else each.probabilities(images)
        own = own - own.mean(axis=0)
        found.append(own / max(float(np.sqrt((own**2).sum(axis=1).mean())), 1e-9))
        passed()
    return np.concatenate(found, axis=1).astype(np.float32)
