"""The snapshot that was chosen, as a report shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ChosenSnapshot:
    """What `hemabridge select` found for the run of a report.

    Attributes:
        reasons: the choice in plain sentences, or why there is none to show.
        picture: the choice as PNG, if there is one.
    """

    reasons: str
    picture: bytes | None = None
