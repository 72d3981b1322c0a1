"""`hemabridge catalog`: all re-staining methods, with advice on when to use each."""

from dataclasses import dataclass
from typing import Literal

from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.translators.presets import PRESETS


@dataclass(frozen=True)
class Method:
    """One re-staining method.

    Attributes:
        name: its name in recipes.
        kind: `normalizer`: a closed form that is fitted in seconds; `translator`: a preset that is trained.
        use: one line on when to use it.
    """

    name: str
    kind: Literal["normalizer", "translator"]
    use: str


def catalog() -> tuple[Method, ...]:
    """Return all normalizers, then all presets of translators; needs no PyTorch."""
    closed = tuple(Method(name, "normalizer", entry.use) for name, entry in NORMALIZERS.items())
    return closed + tuple(Method(name, "translator", preset.use) for name, preset in PRESETS.items())
