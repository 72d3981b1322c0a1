"""`hemabridge catalog`: every way to re-stain, and when to use which."""

from dataclasses import dataclass
from typing import Literal

from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.translators.presets import PRESETS


@dataclass(frozen=True)
class Method:
    """One way to re-stain.

    Attributes:
        name: by which recipes know it.
        kind: `normalizer`: a closed form, fitted in seconds; `translator`: trained, the name is that of a preset.
        use: one line on when to use it.
    """

    name: str
    kind: Literal["normalizer", "translator"]
    use: str


def catalog() -> tuple[Method, ...]:
    """Return all normalizers, then all presets of translators; needs no PyTorch."""
    closed = tuple(Method(name, "normalizer", entry.use) for name, entry in NORMALIZERS.items())
    return closed + tuple(Method(name, "translator", preset.use) for name, preset in PRESETS.items())
