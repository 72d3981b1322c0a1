"""The protocol of every classifier, and the alignment of its classes. Imports no PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images

Probabilities = NDArray[np.float32]
"""float32[N, C]: the probability of each class, in the order of `Classifier.classes`; rows sum to 1."""


def mean_of(predictions: Sequence[Probabilities]) -> Probabilities:
    """Return the mean of predictions, float32[N, C], for the same images: a linear opinion pool."""
    mean: Probabilities = np.stack(predictions).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def mirrored_views(images: UInt8Images) -> tuple[UInt8Images, ...]:
    """Return four views of square images uint8[N, S, S, 3]: themselves, their two mirror images, their transposes.

    A smear has no natural orientation: all four show the same cells.
    """
    return (images, images[:, :, ::-1], images[:, ::-1], images.swapaxes(1, 2))


def mean_over_views(predict: Callable[[UInt8Images], Probabilities], images: UInt8Images) -> Probabilities:
    """Return the mean of the predictions, float32[N, C], of the four views of square images uint8[N, S, S, 3]."""
    return mean_of([predict(view) for view in mirrored_views(images)])


@runtime_checkable
class Classifier(Protocol):
    """Predicts the class of single-cell images. It is deterministic and does not change the images."""

    @property
    def name(self) -> str:
        """The name of the classifier in tables."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        ...

    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for square RGB images uint8[N, S, S, 3] of any size S; N may be 0."""
        ...


@dataclass(frozen=True)
class AlignedClassifier:
    """A classifier whose predictions are restricted to `classes`, in their order."""

    inner: Classifier
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The inner classifier's name."""
        return self.inner.name

    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] over `classes`: the inner probabilities of these, divided by their sum.

        Where the inner probabilities of all these classes are 0, each class gets the same probability.
        """
        columns = [self.inner.classes.index(name) for name in self.classes]
        kept = self.inner.probabilities(images)[:, columns].astype(np.float64) + np.finfo(np.float64).tiny
        shares: Probabilities = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


def align_classes(classifier: Classifier, classes: Sequence[str]) -> Classifier:
    """Return a classifier of exactly `classes`, in that order; the names are matched as they are written.

    Raises:
        ModelError: the classifier has no such class.
    """
    missing = [name for name in classes if name not in classifier.classes]
    if missing:
        raise ModelError(
            f"expected a classifier of the classes {', '.join(classes)}; {classifier.name} lacks {', '.join(missing)}; "
            f"its classes are {', '.join(classifier.classes)}; write them as the manifest does, or leave classes out"
        )
    wanted = tuple(classes)
    return classifier if wanted == classifier.classes else AlignedClassifier(classifier, wanted)
