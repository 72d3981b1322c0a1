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
        target_to_source_members: snapshots of the classifiers that were trained with target-to-source stain
            augmentation, which predict from the original images.
        restainings: by name, the JSON file of a normalizer or the snapshot of a translator.
        translator_scale: pixels of the translator's cells for each pixel of the ensemble's; 1 without a translator.
        soft_agreement: with the shape members, 0..1, of each re-staining that was tried; empty without shape members.
        confidence: mean largest probability of the color members on each re-staining, 0..1.
        subdomains: the re-stainings of each subdomain of the source, by the color of its empty field; empty if there is
            one subdomain.
        class_prior: estimated prevalence of each class in the source, 0..1; empty if it was not estimated.
        adabn: whether the shape members use batch norm statistics of the source.
        left_out: normalizers that are not used since they make implausible colors, and those colors.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the ensemble of a study"
    KIND: ClassVar[str | None] = "ensemble"

    target_to_source_members: tuple[str, ...]
    restainings: dict[str, str]
    translator_scale: float
    soft_agreement: dict[str, float]
    confidence: dict[str, float]
    subdomains: dict[str, tuple[str, ...]]
    class_prior: dict[str, float]
    adabn: bool
    left_out: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """Return the facts for a report, as texts by their names."""
        counts = {
            "ensemble: color members": len(self.external_members) + len(self.color_members),
            "ensemble: shape members": len(self.shape_members),
            "ensemble: target-to-source members": len(self.target_to_source_members),
        }
        facts = {"ensemble: re-stainings": ", ".join(self.restainings)}
        facts |= {name: str(count) for name, count in counts.items()}
        if self.subdomains:
            facts["ensemble: subdomains of the source"] = "; ".join(
                f"empty field {color}: {', '.join(names)}" for color, names in self.subdomains.items()
            )
        if self.adabn:
            facts["ensemble: batch norm of the shape members"] = "statistics of the source's unlabeled cells (AdaBN)"
        for name, faults in self.left_out.items():
            facts[f"ensemble: {name} left out"] = f"it makes implausible colors: {faults}"
        if self.soft_agreement:
            best_first = sorted(self.soft_agreement.items(), key=lambda found: -found[1])
            facts["ensemble: soft agreement with the shape members"] = ", ".join(
                f"{name} {value:.3f}" for name, value in best_first
            )
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
