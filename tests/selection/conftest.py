from collections.abc import Callable

import pytest

from hemabridge.models.selection_file import Selection, SnapshotRow

MakeRow = Callable[..., SnapshotRow]


@pytest.fixture
def make_row() -> MakeRow:
    """A function that makes a plausible row."""

    def make(
        name: str = "epoch-0001", *, stain: float = 0.4, kept: float = 0.9, refused: float = 0.04, **more: object
    ) -> SnapshotRow:
        values: dict[str, object] = {
            "snapshot": name,
            "sha256": "ab" * 32,
            "images": 100,
            "stain": stain,
            "stain_interval": (stain - 0.02, stain + 0.03),
            "smoothed": stain,
            "lab": {"nucleus": 3.0},
            "optical_density": {"nucleus": 0.1},
            "kid": -0.01,
            "kid_interval": (-0.1, 0.2),
            "domain_auc": 0.8,
            "refused": refused,
            "refused_interval": (max(0.0, refused - 0.02), refused + 0.02),
            "kept": kept,
            "kept_interval": (kept - 0.01, kept + 0.01),
            "fit": refused <= 0.25,
            "won": 0.5,
        }
        return SnapshotRow(**{**values, **more})  # type: ignore[arg-type]

    return make


@pytest.fixture
def selection(make_row: MakeRow) -> Selection:
    """A selection of three snapshots."""
    rows = (
        make_row("epoch-0001", stain=0.6, kept=0.95, won=0.0),
        make_row("epoch-0002", stain=0.3, kept=0.85, won=0.7, confidence=0.9, prior_shift=0.1, readers=1.0),
        make_row("epoch-0020", stain=0.2, kept=0.6, refused=0.5, won=0.0),
    )
    original = make_row("original", stain=1.0, kept=1.0, refused=0.0, images=0, sha256="", won=0.0)
    return Selection("small", "epoch-0002", ("epoch-0001",), "Because.", original, rows, (0.0, (-0.1, 0.1)), {"n": 3})
