"""What fitted in a study, on disk: with it new cells are named as the study named its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.protocol import Classifier
from hemabridge.ensemble.fit import FittedEnsemble
from hemabridge.ensemble.members import Members
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.catalog import read_normalizer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.storage.files import atomic_write
from hemabridge.storage.results_file import STRICT, ResultsFile
from hemabridge.translators.neural import NeuralStandardizer

FILE: Final = "ensemble.json"

MEMBERS: Final = "members.json"
"""All classifiers of an ensemble before any re-staining is fitted: those that can agree about another hospital."""

ADABN: Final = "adabn"
"""Folder of the classifiers whose batch norm was measured again on the source."""


@dataclass(frozen=True)
class SavedEnsemble(ResultsFile):
    """Which files fitted; paths are relative to the folder of the study.

    Attributes:
        restainings: by name, the JSON of a normalizer or the snapshot of a translator.
        restained: snapshots of the classifiers that are asked about re-stained images.
        direct: snapshots of those that are asked about the images as they are.
        others: classifiers of the recipe that came as a file, by name; they are asked about re-stained images.
        soft_agreement: of each re-staining that was tried with what those say who see shape alone; empty if nobody
            judged.
        subdomains: the re-stainings of each subdomain of the source, by the color of its empty field; empty if there
            is one.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the ensemble of a study"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run the study again"

    restainings: dict[str, str]
    restained: tuple[str, ...]
    direct: tuple[str, ...]
    others: tuple[str, ...]
    soft_agreement: dict[str, float]
    subdomains: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        members: Members,
        restainings: Mapping[str, Path],
        named: Mapping[str, Classifier],
        study: Path,
        fitted: FittedEnsemble | None = None,
    ) -> "SavedEnsemble":
        """Describe a members and the files of its re-stainings, all within the folder of the study.

        `fitted` is what it came to; None if it has not been asked.
        """
        snapshots = [(one.snapshot.relative_to(study).as_posix(), one.direct) for one in members.learners]
        return cls(
            restainings={name: path.relative_to(study).as_posix() for name, path in restainings.items()},
            restained=tuple(path for path, direct in snapshots if not direct),
            direct=tuple(path for path, direct in snapshots if direct),
            others=tuple(name for name, one in named.items() if any(one is other for other in members.others)),
            soft_agreement={} if fitted is None else dict(fitted.soft_agreement),
            subdomains={} if fitted is None else dict(fitted.subdomains),
        )

    def write(self, folder: Path, name: str = FILE) -> None:
        """Write it into a folder."""
        with atomic_write(folder / name) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def in_words(self) -> dict[str, str]:
        """Return what a report states of it."""
        tried = ", ".join(
            f"{name} {value:.3f}" for name, value in sorted(self.soft_agreement.items(), key=lambda x: -x[1])
        )
        facts = {
            "ensemble: re-stainings that take part": ", ".join(self.restainings),
            "ensemble: classifiers asked about re-stained cells": str(len(self.others) + len(self.restained)),
            "ensemble: classifiers asked about cells as they came": str(len(self.direct)),
        }
        if self.subdomains:
            facts["ensemble: subdomains of the source"] = "; ".join(
                f"empty field {color}: {', '.join(names)}" for color, names in self.subdomains.items()
            )
        if any(ADABN in Path(path).parts for path in self.direct):
            facts["ensemble: batch norm of those"] = "measured again on the source's unlabeled cells"
        return facts | ({"ensemble: soft agreement of re-stainings with shape": tried} if tried else {})

    def ensemble(self, study: Path, named: Mapping[str, Classifier]) -> FittedEnsemble:
        """Return the ensemble, itself a classifier of the source.

        Args:
            study: the folder.
            named: the recipe's classifiers by name.

        Raises:
            InputError: a file is missing or outside of the study's folder, or a classifier is not in the recipe.
            ModelError: a file is damaged.
        """
        unknown = [name for name in self.others if name not in named]
        if unknown:
            raise InputError(f"expected classifiers of the recipe, got {', '.join(unknown)} in {FILE}; {self.AGAIN}")
        restained, direct = (
            tuple(SnapshotClassifier.from_snapshot(_inside(study, path)) for path in paths)
            for paths in (self.restained, self.direct)
        )
        standardizers = {name: _standardizer(_inside(study, path)) for name, path in self.restainings.items()}
        return FittedEnsemble(
            "ensemble", (*(named[name] for name in self.others), *restained), standardizers, direct=direct
        )


def write_normalizers(fitted: FittedEnsemble, folder: Path) -> dict[str, Path]:
    """Write the normalizers that fitted as JSON; return their files by name."""
    files = {}
    for name, standardizer in fitted.standardizers.items():
        if isinstance(standardizer, Normalizer):
            files[name] = folder / f"{name}.json"
            with atomic_write(files[name]) as temporary:
                temporary.write_text(standardizer.to_json(), encoding="utf-8")
    return files


def _standardizer(path: Path) -> Standardizer:
    return read_normalizer(path) if path.suffix == ".json" else NeuralStandardizer.from_snapshot(path)


def _inside(study: Path, path: str) -> Path:
    found = study / path
    if not found.resolve().is_relative_to(study.resolve()) or not found.is_file():
        raise InputError(f"expected a file of the study {study}, got {path} in {FILE}; run the study again")
    return found
