"""The class, split, patient and slide of a file by its folders, for any data set and for known public ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from hemabridge.data.folder_levels import RIGHT_BELOW, Levels, find_levels
from hemabridge.errors import ManifestError
from hemabridge.storage.file_kind import FileKind

UNLABELED = frozenset({"unlabeled", "unlabelled"})
"""Folders whose images have no class."""

_CLASS_OF_FOLDER = {
    **{name: name for name in ("basophil", "eosinophil", "erythroblast", "immature_granulocyte", "lymphocyte")},
    **{name: name for name in ("monocyte", "neutrophil", "platelet")},
    "ig": "immature_granulocyte",
}
"""Folders of PBC_dataset_normal_DIB (Acevedo et al., 2020, Data in Brief 30, 105474) and Raabin-WBC, lower case."""

_SUBCLASS_OF_PREFIX = {
    "BNE": "band_neutrophil",
    "MMY": "metamyelocyte",
    "MY": "myelocyte",
    "PMY": "promyelocyte",
    "SNE": "segmented_neutrophil",
}
"""Prefixes of file names in PBC_dataset_normal_DIB."""

_SPLIT_OF_FOLDER = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testa": "test",
    "testb": "test_b",
}
"""Folders above the class folders; TestA and TestB are those of Raabin-WBC (Kouzehkanan et al., 2022)."""

_TECOM_CLASSES = {"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"}
_TECOM_FILE: Final = FileKind(
    "rows of an image number and a class label of 1 to 5",
    ManifestError,
    "repair the file, or rename it if it is not the label file of the Tecom images",
    largest_bytes=1_000_000,
)
_TECOM_LABELS = re.compile(r"Class Labels of Dataset (\d+)\.csv", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What the folders of a file state about it; the empty string for unknown."""

    class_name: str
    split: str
    patient: str = ""
    slide: str = ""


@dataclass(frozen=True)
class Layout:
    """How a folder of images is laid out.

    Attributes:
        subclasses: read the finer classes from the file names of PBC_dataset_normal_DIB.
        tecom: (folder, image number) -> class, for the original layout of Zheng et al. (2018), Micron 107, 55-71.
        levels: the levels of class, patient and slide, counted without the folder of a split.
    """

    subclasses: bool
    tecom: Mapping[tuple[str, int], str]
    levels: Levels = RIGHT_BELOW

    def place(self, path: PurePosixPath) -> Place:
        """Return class, split, patient and slide of an image, by its path relative to the indexed folder."""
        folders = list(path.parts[:-1])
        if path.stem.isdecimal() and (listed := self.tecom.get(("/".join(folders), int(path.stem)))):
            return Place(listed, "")
        if folders and any(folders == [place] for place, _ in self.tecom):
            return Place("", "")
        split = _take_split(folders)
        patient, slide = (_named(folders, at) for at in (self.levels.patient_at, self.levels.slide_at))
        class_name = _named(folders, self.levels.class_at)
        if any(name.lower() in UNLABELED for name in folders):
            class_name = ""
        class_name = _CLASS_OF_FOLDER.get(class_name.lower(), class_name)
        if self.subclasses and class_name:
            class_name = _SUBCLASS_OF_PREFIX.get(path.name.split("_")[0], class_name)
        return Place(class_name, split, patient, slide)

    def is_mask(self, path: PurePosixPath, paths: frozenset[str]) -> bool:
        """Return whether a file is an expert's mask: in the Tecom layout, a PNG beside a BMP of the same name."""
        return bool(self.tecom) and path.suffix.lower() == ".png" and str(path.with_suffix(".bmp")) in paths


def find_layout(folder: Path, *, subclasses: bool = False) -> Layout:
    """Find out whether a folder has the layout of a known data set; `with_levels` then adds the levels of folders.

    Raises:
        ManifestError: a label file of the Tecom data set does not consist of rows `image ID,class label`.
    """
    tecom: dict[tuple[str, int], str] = {}
    for path in sorted(folder.iterdir()):
        match = _TECOM_LABELS.fullmatch(path.name)
        if match:
            labels = _read_tecom_labels(path)
            below = f"Dataset {match[1]}"
            place = below if (folder / below).is_dir() else ""
            tecom.update({(place, number): name for number, name in labels.items()})
    return Layout(subclasses, tecom)


def with_levels(
    layout: Layout,
    paths: Sequence[str],
    where: Path,
    *,
    classes_at: int | None = None,
    patients_at: int | None = None,
) -> Layout:
    """Return the layout with the levels of the folders that are class, patient and slide.

    Args:
        layout: the layout of the folder.
        paths: paths of its images, relative to the folder.
        where: the folder, for the error.
        classes_at: the level of the classes, 1 for the first level, 0 for none; None: by the names.
        patients_at: the level of the patients, as in `classes_at`.

    Raises:
        ManifestError: the levels are ambiguous.
    """
    parts = [list(PurePosixPath(path).parts[:-1]) for path in paths]
    splits = {_split_at(folders) for folders in parts}
    for folders in parts:
        _take_split(folders)
    split_at = splits.pop() if len(splits) == 1 else None
    if layout.tecom:
        parts = []
    if classes_at is None and patients_at is None:
        return replace(layout, levels=find_levels(parts, UNLABELED, where=str(where)))
    given = Levels(_counted(classes_at, split_at), _counted(patients_at, split_at))
    if classes_at is None:
        others = [[name for at, name in enumerate(folders) if at != given.patient_at] for folders in parts]
        class_at = find_levels(others, UNLABELED, where=str(where)).class_at
        if class_at is not None and given.patient_at is not None and class_at >= given.patient_at:
            class_at += 1
        given = replace(given, class_at=class_at)
    return replace(layout, levels=given)


def _counted(level: int | None, split_at: int | None) -> int | None:
    """Return a level counted from 0, without the folder of a split; None for no level."""
    return None if not level else level - 1 - (split_at is not None and level - 1 > split_at)


def _named(folders: Sequence[str], at: int | None) -> str:
    return folders[at] if at is not None and at < len(folders) else ""


def _split_at(folders: Sequence[str]) -> int | None:
    """Return the index of the folder that is a split, the first or the second one; None if neither is."""
    return next((at for at, name in enumerate(folders[:2]) if name.lower() in _SPLIT_OF_FOLDER), None)


def _take_split(folders: list[str]) -> str:
    """Remove the folder that is a split, and return this split; empty if there is none."""
    at = _split_at(folders)
    return "" if at is None else _SPLIT_OF_FOLDER[folders.pop(at).lower()]


def _read_tecom_labels(path: Path) -> dict[int, str]:
    rows = _TECOM_FILE.parse_csv(_TECOM_FILE.read_text(path), path)[1:]
    try:
        return {int(number): _TECOM_CLASSES[label.strip()] for number, label in rows}
    except (ValueError, KeyError) as error:
        raise _TECOM_FILE.damaged(path, f"something else: {error}") from error
