"""Results of a synthesis, made by hand."""

from typing import Any

from hemabridge.metrics.statistics import wilson_interval
from hemabridge.synthesis.pair_results import (
    Copy,
    CopyCheck,
    DirectionResults,
    Estimate,
    PairResults,
    ShapeRow,
    Share,
    SnapshotCheck,
    Spread,
    SynthesisResults,
)


def share(count: int, n: int) -> Share:
    return Share(count, n, wilson_interval(count, n))


def direction_of(**changes: Any) -> DirectionResults:
    spread = Spread(0.1, 0.2, 0.25, 0.3, 0.4, 20)
    near = Copy("a/1.png", "b/9.png", 8, 0.9, 1.5, "same field")
    far = Copy("a/2.png", "b/3.png", 20, 0.3, 2.5, None)
    fields: dict[str, Any] = {
        "direction": "to_target",
        "source_class": "lymphocyte",
        "intended_class": "blast",
        "snapshot": "epoch-0002",
        "model_sha256": "ab" * 32,
        "checks": (
            SnapshotCheck("epoch-0001", 100, share(3, 10), 0.5),
            SnapshotCheck("epoch-0002", 200, share(9, 10), 0.2),
        ),
        "intended": share(19, 20),
        "intended_real": share(20, 20),
        "intended_source": share(0, 20),
        "second": share(18, 20),
        "second_real": share(20, 20),
        "kid": Estimate(0.3, (0.2, 0.4)),
        "kid_floor": Estimate(0.01, (-0.01, 0.02)),
        "kid_source": Estimate(2.0, (1.5, 2.5)),
        "shapes": (
            ShapeRow(
                "nucleus_area",
                spread,
                spread,
                spread,
                Estimate(1.5, (1.2, 1.8)),
                Estimate(0.4, (0.3, 0.5)),
                Estimate(0.1, (0.05, 0.2)),
            ),
        ),
        "copies": CopyCheck(
            40, share(1, 20), share(0, 20), (near,), (near, far), {"synthetic": spread, "real": spread},
            {"synthetic": spread, "real": spread}, 1.2, 12,
        ),
        "way_back": 6.25,
    }  # fmt: skip
    return DirectionResults(**(fields | changes))


def synthesis_of(**changes: Any) -> SynthesisResults:
    """Make results of one pair; changes are those of its first direction."""
    back = {"direction": "to_source", "source_class": "blast", "intended_class": "lymphocyte"}
    counts = {"train": 20, "validation": 10, "test": 20}
    cells = {"lymphocyte": counts, "blast": counts}
    directions = (direction_of(**changes), direction_of(**back))
    pair = PairResults("lymphocyte-blast", "lymphocyte", "blast", cells, directions)
    return SynthesisResults("small", "clinic", (pair,), {"seed": 0, "seconds, second": 1.5})
