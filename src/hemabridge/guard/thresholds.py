"""The limits of the guard, beyond which it warns or refuses; learned from the target's own cells, re-stained.

The target's own cells need no re-staining. The changes of their morphology are those that a re-staining makes even
then: its texture, blur and noise. A cell with clearly larger changes is refused.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hemabridge.errors import InputError, ModelError
from hemabridge.guard.morphology import BAD, Bad, Morphology, Values, compare
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.glass_tint import TINTED
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.storage.file_kind import fault_of, with_format
from hemabridge.storage.files import expect_json_text

FEWEST: Final = 20
"""Smallest number of cells from which the tail of a distribution can be estimated."""

FORMAT: Final = 3
"""Version of the file. Format 2 has no limits of `glass_tint`; those of `FLOORS` are then used."""

MAX_JSON_CHARACTERS: Final = 100_000

WARN_SPREADS: Final = 2.0
REFUSE_SPREADS: Final = 3.0
"""Distance of the limits from the median, in units of the distance from the median to the 90th percentile.

Three such units are 3.8 standard deviations of a normal distribution, which 1 in 17,000 exceeds; of an exponential
distribution 1 in 250 exceeds them. A high quantile would need thousands of cells instead of about fifty.
"""

FLOORS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "nucleus_dice": (0.92, 0.88),
        "nucleus_area_change": (0.10, 0.18),
        "nucleus_share_change": (0.06, 0.10),
        "lobe_change": (0.5, 1.5),
        "edge_displacement": (0.022, 0.033),
        "structure_ssim": (0.92, 0.85),
        "residual": (0.22, 0.30),
        "granule_change": (2.5, 4.5),
        "glass_tint": (0.8 * TINTED, TINTED),
    }
)
"""The strictest limits (warn, refuse), for a re-staining with small changes on the target.

They are beyond the values that closed-form color maps, which can move nothing, reach on real cells by rounding,
clipping and changes of masks: two and three of 96 pixels for edges; a tenth and a fifth of the nucleus's area. The
limits of the structure permit color maps that exchange two tones. That of the glass is derived in
`hemabridge.metrics.glass_tint.TINTED`.
"""

CEILINGS: Final[Mapping[str, float]] = MappingProxyType(
    {"nucleus_dice": 0.5, "nucleus_area_change": math.log(2.0), "structure_ssim": 0.5, "glass_tint": TINTED}
)
"""The laxest limits, for a re-staining with large changes on the target: half of the nucleus, half or twice its area,
half of the structure, no more tint of the glass than the floor.

Without them a re-staining that turns the target's cells into noise permits noise.
"""

Finite = Annotated[float, Field(ge=-10_000, le=10_000)]


class Limit(BaseModel):
    """The limits of one measure, in its own unit: beyond `warn` a cell is in doubt, beyond `refuse` it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    warn: Finite
    refuse: Finite


class Thresholds(BaseModel):
    """The limits of all measures of one re-staining.

    Attributes:
        format: version of the file's format; formats 1 and 2 can be read.
        cells: number of target cells from which the limits were learned.
        limits: limits of each measure of `Morphology`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[3] = FORMAT
    cells: Annotated[int, Field(ge=0, le=10_000_000)]
    limits: dict[str, Limit]

    @model_validator(mode="before")
    @classmethod
    def _check_format(cls, data: object) -> object:
        return with_format(_with_glass(data), FORMAT, "a guard's limits", "learn them again")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if set(self.limits) != set(BAD):
            raise ValueError(f"expected a limit for each of {', '.join(BAD)}, got {', '.join(self.limits)[:200]}")
        for name, limit in self.limits.items():
            warn, refuse = (float(badness(np.array([edge]), BAD[name])[0]) for edge in (limit.warn, limit.refuse))
            if not 0 < warn <= refuse or (BAD[name] == "either" and min(limit.warn, limit.refuse) < 0):
                raise ValueError(f"{name}: expected limits on the bad side, `refuse` not before `warn`, got {limit}")
        return self

    def to_json(self) -> str:
        """Return all limits as JSON; floats keep every bit."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: it is a path, or the text is not JSON, is too long, or is not the limits of all measures.
        """
        expect_json_text(text, "thresholds", "read a file with guard.thresholds.read_thresholds(path)", ModelError)
        if len(text) > MAX_JSON_CHARACTERS:
            raise ModelError(f"thresholds: expected at most {MAX_JSON_CHARACTERS:,} characters, got {len(text):,}")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ModelError(f"thresholds: expected limits as to_json writes them, in {fault_of(error)}") from error


def _with_glass(data: object) -> object:
    """Return the table of format 1 or 2 as one of format 3; everything else as it is."""
    if not isinstance(data, Mapping) or not isinstance(data.get("limits"), Mapping):
        return data
    if data.get("format") != 2 and not ("format" not in data and data.get("version") == 1):
        return data
    warn, refuse = FLOORS["glass_tint"]
    others = {name: value for name, value in data.items() if name != "version"}
    return others | {"format": FORMAT, "limits": {"glass_tint": {"warn": warn, "refuse": refuse}, **data["limits"]}}


def badness(values: Values, bad: Bad) -> NDArray[np.float64]:
    """Return the distance of values, float64[N], from "unchanged" in the bad direction; larger is worse."""
    return {"low": 1.0 - values, "high": values, "either": np.abs(values)}[bad]


def learn_thresholds(standardizer: Standardizer, target: UInt8Images) -> Thresholds:
    """Learn the limits of a re-staining from target cells that it re-stains.

    The limit of each measure, as a distance from "unchanged", is the median plus 2 (warn) or 3 (refuse) times the
    distance from the median to the 90th percentile: at least the floor of that measure (`FLOORS`), and at most its
    ceiling, if it has one (`CEILINGS`).

    Args:
        standardizer: a translator to the target, or a normalizer that was fitted from the target to the target.
        target: cells of the target that were not used in its training, uint8[N, H, W, 3], at least `FEWEST`.

    Raises:
        InputError: there are too few cells.
        ImageError: `target` has another type or shape.
    """
    if len(target) < FEWEST:
        raise InputError(f"expected at least {FEWEST} cells of the target to learn thresholds from, got {len(target)}")
    return thresholds_of(compare(target, standardizer.standardize(target)))


def learn_normalizer_thresholds(name: str, target: UInt8Images) -> Thresholds:
    """Learn the limits of a normalizer, which is fitted on one half of the target's cells, from the other half.

    Args:
        name: a key of `NORMALIZERS`.
        target: cells of the target, uint8[N, H, W, 3], at least 2 `FEWEST`; every second one is used for the fit.

    Raises:
        InputError: there are too few cells, or there is no such normalizer.
        ImageError: `target` has another type or shape.
    """
    if len(target) < 2 * FEWEST:
        raise InputError(f"expected at least {2 * FEWEST} cells of the target to learn from, got {len(target)}")
    fitted = fit_on_cells(name, target[::2], target[::2])
    return learn_thresholds(fitted, target[1::2])


def floors() -> Thresholds:
    """Return the strictest limits, those of a re-staining that changes color alone."""
    limits = {name: Limit(warn=warn, refuse=refuse) for name, (warn, refuse) in FLOORS.items()}
    return Thresholds(cells=0, limits=limits)


def thresholds_of(unchanged: Morphology) -> Thresholds:
    """Return the limits from the measures of re-stained target cells, by the rule of `learn_thresholds`."""
    limits = {}
    for name, (values, bad) in unchanged.measures().items():
        middle, high = np.percentile(badness(values, bad), [50, 90])
        ceiling = _distance(CEILINGS[name], bad) if name in CEILINGS else math.inf
        warn, refuse = (
            min(ceiling, max(_distance(floor, bad), float(middle + spreads * (high - middle))))
            for floor, spreads in zip(FLOORS[name], (WARN_SPREADS, REFUSE_SPREADS), strict=True)
        )
        limits[name] = Limit(warn=_edge(warn, bad), refuse=_edge(refuse, bad))
    return Thresholds(cells=len(unchanged), limits=limits)


def _distance(edge: float, bad: Bad) -> float:
    return float(badness(np.array([edge]), bad)[0])


def _edge(distance: float, bad: Bad) -> float:
    return 1.0 - distance if bad == "low" else distance


def read_thresholds(path: Path) -> Thresholds:
    """Read the file of thresholds.

    Raises:
        ModelError: the file is missing, too large, or not valid (`Thresholds.from_json`).
    """
    if not path.is_file():
        raise ModelError(f"expected the thresholds of a guard, got nothing or a folder: {path}")
    if path.stat().st_size > MAX_JSON_CHARACTERS:
        raise ModelError(f"expected the thresholds of a guard, got {path.stat().st_size:,} bytes: {path}")
    return Thresholds.from_json(path.read_text(encoding="utf-8-sig", errors="replace"))
