"""What a classifier says of some cells."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hemabridge.classifiers.protocol import Probabilities

if TYPE_CHECKING:
    import polars as pl


UNKNOWN: Final = "unknown"
"""The predicted class of an image that may belong to none of the classes."""


@dataclass(frozen=True, eq=False)
class Classification:
    """The predictions of a classifier for some cells.

    Attributes:
        classes: class names.
        probabilities: float32[N, C], 0..1, in the order of `classes`; rows sum to 1.
        reasons: why each image shows no single leukocyte; empty if it does. The empty tuple: none was checked.

    Example:
        >>> import numpy as np
        >>> import hemabridge as hb
        >>> found = hb.Classification(("lymphocyte", "neutrophil"), np.array([[0.25, 0.75]], np.float32))
        >>> found.predicted
        ('neutrophil',)
        >>> found.to_polars().rows()
        [('neutrophil', 0.75, 0.25, 0.75)]
    """

    classes: tuple[str, ...]
    probabilities: Probabilities
    reasons: tuple[str, ...] = ()

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each cell; `unknown` if the image shows no single leukocyte."""
        if not self.reasons:
            return self.most_probable
        pairs = zip(self.most_probable, self.reasons, strict=True)
        return tuple(UNKNOWN if reason else name for name, reason in pairs)

    @property
    def most_probable(self) -> tuple[str, ...]:
        """The most probable class of each cell, whatever its image shows."""
        return tuple(self.classes[place] for place in self.probabilities.argmax(axis=1))

    def to_polars(self) -> "pl.DataFrame":
        """Return a table with a row for each cell, in the order of the images.

        Columns: `predicted_class`, `probability` (of the most probable class, 0..1), and `probability of CLASS` for
        each class.
        """
        import polars as pl  # slow to load

        columns = {f"probability of {name}": self.probabilities[:, place] for place, name in enumerate(self.classes)}
        return pl.DataFrame(
            {
                "predicted_class": pl.Series(self.predicted, dtype=pl.String),
                "probability": self.probabilities.max(axis=1, initial=0.0),
                **columns,
            }
        )
