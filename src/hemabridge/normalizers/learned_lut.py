"""A color table that was taught so that one classifier says what many agree on; using it needs no PyTorch."""

from typing import Annotated, Literal, Self

from pydantic import Field

from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.sliced_transport import TableNormalizer


class LearnedLut(TableNormalizer):
    """What `hemabridge.ensemble.lut_learning.teach` found.

    Attributes:
        learned_for: SHA-256 of the classifier's file; the table is for this classifier alone.
    """

    method: Literal["learned-lut"] = "learned-lut"
    learned_for: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Refuse: two sets of images do not say what a classifier should answer.

        Raises:
            InputError: always.
        """
        raise InputError(
            "expected a table that a study taught, got two sets of images; "
            "add [agreement.learned_lut] to the recipe of a study"
        )
