"""A color table that was learned for one frozen classifier; using it needs no PyTorch."""

from typing import Annotated, Literal, Self

from pydantic import Field

from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.sliced_transport import TableNormalizer


class LearnedLut(TableNormalizer):
    """A learned color table: with it one classifier predicts what an ensemble predicts.

    `hemabridge.ensemble.lut_learning` learns it.

    Attributes:
        learned_for: SHA-256 of the classifier's weights; the table is for this classifier alone.
    """

    method: Literal["learned-lut"] = "learned-lut"
    learned_for: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Refuse: two sets of images do not say what a classifier should predict.

        Raises:
            InputError: always.
        """
        raise InputError(
            "expected a table that a study learned, got two sets of images; "
            "add [ensemble.learned_lut] to the recipe of a study"
        )
