"""Which level of a folder tree is the class, and which is the patient or the slide, by the names of the folders."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hemabridge.data.columns import listed
from hemabridge.errors import ManifestError

_CELL_WORDS: Final = re.compile(
    r"neutro|eosino|baso(?:phil)?s?\b|lympho|mono(?:cyt|blast|s?\b)|blast|platelet|thrombo|erythro|normobl|granulo|myelo"
    r"|segment|\bbands?\b|\b(?:ig|wbc|rbc|nrbc|smudge|artefacts?|artifacts?)\b|plasma|leu[ck]o|megakaryo|hairy",
    re.IGNORECASE,
)
"""Parts of names of blood cells in English, Latin, German and Spanish."""

_PATIENT: Final = re.compile(
    r"^(?:patient|pat|pt|subject|subj|sub|donor|case|person|proband|paciente|spender)[ _.#-]*(?:id[ _.#-]*)?\w*\d\w*$"
    r"|^p[ _-]?\d+$",
    re.IGNORECASE,
)
_SLIDE: Final = re.compile(r"^(?:slide|smear|film|frotis)[ _.#-]*\w*$", re.IGNORECASE)
_TIME: Final = re.compile(
    r"^(?:day|week|month|run|batch|session)[ _.#-]*\d+$|\d{4}-?\d\d-?\d\d|\d\d[.]\d\d[.]\d{2,4}", re.IGNORECASE
)
_WORK: Final = frozenset(
    {"runs", "checkpoints", "snapshots", "models", "weights", "logs", "results", "output", "outputs", "recipes"}
    | {"benchmarks", "figures", "src", "docs", "tests", "node_modules", "venv", "build", "dist"}
    | {"fields", "masks", "found", "restained", "standardized", "quarantine", "batches"}
)
"""Folders of programs and their results, of whole fields and of masks, which are no classes of cells."""

_HINT: Final = (
    "state them by --classes-at N and --patients-at N (1: the folders directly in it), or give the folder of one site"
)


@dataclass(frozen=True)
class Levels:
    """The folder levels of class, patient and slide; 0 is the first level below the indexed folder, None: no level."""

    class_at: int | None = 0
    patient_at: int | None = None
    slide_at: int | None = None


RIGHT_BELOW: Final = Levels()
"""The folders directly in the indexed one are the classes."""


@dataclass(frozen=True)
class _Level:
    at: int
    names: frozenset[str]
    repeated: float  # share of the names that occur in several parent folders

    def share(self, pattern: re.Pattern[str]) -> float:
        return sum(bool(pattern.search(name)) for name in self.names) / len(self.names)


def find_levels(folders: Iterable[Sequence[str]], ignored: frozenset[str] = frozenset(), *, where: str) -> Levels:
    """Find out which level of folders is the class, and which is the patient or the slide.

    A level with one name is not the class if another level has several names. Then, in this order: names of blood cells
    are classes; names such as `Patient_14` are patients; of two other levels whose names are combined, the one with at
    most half as many names is the class. A level below the classes whose names do not repeat has no meaning.

    Args:
        folders: the folder names of each image, from the indexed folder down.
        ignored: lower-case names for images without class (`unlabeled`).
        where: the indexed folder, for the error.

    Raises:
        ManifestError: the levels are ambiguous, the classes would be folders of results such as `runs`, or the folder
            seems to hold several sites.
    """
    found = {tuple(parts) for parts in folders}
    levels = _levels(found, ignored)
    if not levels:
        return RIGHT_BELOW
    class_level = _class_level(levels, where)
    class_at = None if class_level is None else class_level.at
    others = [level for level in levels if level.at != class_at and (len(level.names) > 1 or _is_patients(level))]
    if class_level is not None:
        _refuse_work(class_level, where)
    patients = [level for level in others if _is_patients(level)] or [
        level for level in others if class_level is not None and _may_be_patients(level, class_level)
    ]
    slides = [level for level in others if level.share(_SLIDE) >= 0.5]
    if class_at and patients and not _is_patients(patients[0]):
        _refuse_several_sites(found, class_at, ignored, where)
    return Levels(class_at, patients[0].at if patients else None, slides[0].at if slides else None)


def _levels(folders: Iterable[tuple[str, ...]], ignored: frozenset[str]) -> list[_Level]:
    parents: dict[int, dict[str, set[tuple[str, ...]]]] = defaultdict(lambda: defaultdict(set))
    for parts in folders:
        for at, name in enumerate(parts):
            if name.lower() in ignored:
                break
            parents[at][name].add(parts[:at])
    return [
        _Level(at, frozenset(names), sum(len(above) > 1 for above in names.values()) / len(names))
        for at, names in sorted(parents.items())
    ]


def _class_level(levels: Sequence[_Level], where: str) -> _Level | None:
    cells = [level for level in levels if level.share(_CELL_WORDS) >= 0.5]
    if cells:
        return cells[0]
    rest = [level for level in levels if not _is_patients(level)]
    several = [level for level in rest if len(level.names) > 1 and level.share(_SLIDE) < 0.5]
    if not several:
        if len(rest) == len(levels):
            return rest[0]
        several_patients = any(len(level.names) > 1 for level in levels if _is_patients(level))
        if rest and several_patients and rest[0].at < min(level.at for level in levels if _is_patients(level)):
            raise ManifestError(
                f"expected folders of classes in {where}, got {listed(sorted(rest[0].names))} above folders of "
                f"patients, which may be classes or not; {_HINT}"
            )
        return None
    if len(several) == 1:
        return several[0]
    return _of_combined(several, where)


def _of_combined(levels: Sequence[_Level], where: str) -> _Level:
    """Return which of several levels without known names is the class."""
    upper, *lower = levels
    repeating = [level for level in lower if level.repeated > 0]
    if not repeating:
        return upper
    if len(repeating) == 1 and repeating[0].repeated >= 0.5:
        few, many = sorted((upper, repeating[0]), key=lambda level: len(level.names))
        if 2 * len(few.names) <= len(many.names):
            return few
    examples = "; ".join(f"{level.at + 1}: {listed(sorted(level.names))}" for level in levels)
    raise ManifestError(
        f"expected one level of folders that is the class in {where}, got several that may be ({examples}); {_HINT}"
    )


def _is_patients(level: _Level) -> bool:
    return level.share(_PATIENT) >= 0.5


def _may_be_patients(level: _Level, class_level: _Level) -> bool:
    if level.share(_SLIDE) >= 0.5 or level.share(_TIME) >= 0.5:
        return False
    return level.at < class_level.at or level.repeated > 0


def _refuse_work(level: _Level, where: str) -> None:
    work = sorted(name for name in level.names if name.lower() in _WORK)
    if work:
        raise ManifestError(
            f"expected folders of classes in {where}, got {listed(work)} among {len(level.names)}, which are no "
            f"classes of cells; {_HINT}"
        )


def _refuse_several_sites(
    folders: Iterable[tuple[str, ...]], class_at: int, ignored: frozenset[str], where: str
) -> None:
    """Raise an error if some folders above the classes hold images themselves, as the folder of an unlabeled site."""
    flat = sorted({parts[0] for parts in folders if 0 < len(parts) <= class_at and parts[-1].lower() not in ignored})
    if flat:
        raise ManifestError(
            f"expected one site in {where}, got folders of classes in some folders, and images right in "
            f"{listed(flat)}, as if these were several sites; {_HINT}"
        )
