"""What a classifier says of some cells."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hemabridge.classifiers.protocol import Probabilities

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Classification:
    """The predictions of a classifier for some cells.

    Attributes:
        classes: class names.
        probabilities: float32[N, C], 0..1, in the order of `classes`; rows sum to 1.

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

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each cell."""
        return tuple(self.classes[place] for place in self.probabilities.argmax(axis=1))

    def to_polars(self) -> "pl.DataFrame":
        """Return a table with a row for each cell, in the order of the images.

        Columns: `predicted` (the most probable class), `probability` (of that class, 0..1), and `probability of CLASS`
        for each class.
        """
        import polars as pl  # slow to load

        columns = {f"probability of {name}": self.probabilities[:, place] for place, name in enumerate(self.classes)}
        return pl.DataFrame(
            {
                "predicted": pl.Series(self.predicted, dtype=pl.String),
                "probability": self.probabilities.max(axis=1, initial=0.0),
                **columns,
            }
        )
