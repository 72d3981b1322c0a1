"""The files `members.json` and `ensemble.json`: the classifiers and re-stainings of an ensemble.

All paths are relative to the folder of the study, so that the folder can be moved as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from hemabridge.errors import InputError
from hemabridge.storage.results_file import STRICT, ResultsFile


@dataclass(frozen=True)
class SavedMembers(ResultsFile):
    """The content of `members.json`.

    Attributes:
        color_members: snapshots of the classifiers that predict from re-stained images.
        shape_members: snapshots of the classifiers with the shape view, which predict from the original images.
        external_members: the recipe's names of color members that were not trained by the study.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the members of an ensemble"
    FORMAT: ClassVar[int] = 2
    AGAIN: ClassVar[str] = "run the study again"
    KIND: ClassVar[str | None] = "members"

    color_members: tuple[str, ...]
    shape_members: tuple[str, ...]
    external_members: tuple[str, ...]

    def color_files(self, root: Path) -> tuple[Path, ...]:
        """Return the snapshots of the color members.

        Raises:
            InputError: one is missing, or outside of `root`.
        """
        return files_within(root, self.color_members)

    def shape_files(self, root: Path) -> tuple[Path, ...]:
        """Return the snapshots of the shape members.

        Raises:
            InputError: one is missing, or outside of `root`.
        """
        return files_within(root, self.shape_members)


@dataclass(frozen=True)
class SavedEnsemble(SavedMembers):
    """The content of `ensemble.json`.

    Attributes:
        restainings: by name, the JSON file of a normalizer or the snapshot of a translator.
        translator_scale: pixels of the translator's cells for each pixel of the ensemble's; 1 without a translator.
        site_statistics: the file of the members' batch norm statistics of the source; empty without any.
        prevalence: mean predicted probability of each class in the source, 0..1.
        left_out: normalizers that are not used since they make implausible colors, and those colors.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the ensemble of a study"
    FORMAT: ClassVar[int] = 3
    KIND: ClassVar[str | None] = "ensemble"

    restainings: dict[str, str]
    translator_scale: float
    site_statistics: str
    prevalence: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """Return the facts for a report, as texts by their names."""
        facts = {
            "ensemble: re-stainings": ", ".join(self.restainings) or "none",
            "ensemble: color members": str(len(self.external_members) + len(self.color_members)),
            "ensemble: shape members": str(len(self.shape_members)),
        }
        if self.site_statistics:
            facts["ensemble: batch norm"] = "statistics of the target, and of the source's unlabeled cells (AdaBN)"
        predicted = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.prevalence.items())
        facts["ensemble: predicted prevalence in the source"] = predicted
        for name, faults in self.left_out.items():
            facts[f"ensemble: {name} left out"] = f"it makes implausible colors: {faults}"
        return facts


def files_within(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return files by their paths relative to a folder.

    Raises:
        InputError: one is missing, or outside of the folder.
    """
    found = []
    for name in names:
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
            raise InputError(
                f"expected a file of the study {root}, got {name} in the file of its ensemble; run the study again"
            )
        found.append(path)
    return tuple(found)
