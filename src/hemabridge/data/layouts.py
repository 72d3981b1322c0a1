"""Which class and which split a file belongs to, from the folders of any data set and of the known public ones."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hemabridge.errors import ManifestError

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
"""Beginnings of file names in PBC_dataset_normal_DIB."""

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
_TECOM_LABELS = re.compile(r"Class Labels of Dataset (\d+)\.csv", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What a file's place says about it: class and split, the empty string for unknown."""

    class_name: str
    split: str


@dataclass(frozen=True)
class Layout:
    """How a folder of images is laid out.

    Attributes:
        subclasses: take the finer classes that PBC_dataset_normal_DIB writes into file names.
        tecom: (folder, image number) -> class, for the original layout of Zheng et al. (2018), Micron 107, 55-71.
    """

    subclasses: bool
    tecom: Mapping[tuple[str, int], str]

    def place(self, path: PurePosixPath) -> Place:
        """Return class and split of an image, by its path relative to the indexed folder."""
        folders = list(path.parts[:-1])
        if path.stem.isdecimal() and (listed := self.tecom.get(("/".join(folders), int(path.stem)))):
            return Place(listed, "")
        if folders and any(folders == [place] for place, _ in self.tecom):
            return Place("", "")
        split = ""
        if folders and folders[0].lower() in _SPLIT_OF_FOLDER:
            split = _SPLIT_OF_FOLDER[folders.pop(0).lower()]
        if not folders or folders[0].lower() in UNLABELED:
            return Place("", split)
        class_name = _CLASS_OF_FOLDER.get(folders[0].lower(), folders[0])
        if self.subclasses:
            class_name = _SUBCLASS_OF_PREFIX.get(path.name.split("_")[0], class_name)
        return Place(class_name, split)

    def is_mask(self, path: PurePosixPath, paths: frozenset[str]) -> bool:
        """Tell whether a file is an expert's mask: in the Tecom layout, the PNG beside a BMP of the same name."""
        return bool(self.tecom) and path.suffix.lower() == ".png" and str(path.with_suffix(".bmp")) in paths


def find_layout(folder: Path, *, subclasses: bool = False) -> Layout:
    """Find out how a folder is laid out.

    Raises:
        ManifestError: a label file of the Tecom collection does not hold `image ID,class label` rows.
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


def _read_tecom_labels(path: Path) -> dict[int, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))[1:]
        return {int(number): _TECOM_CLASSES[label.strip()] for number, label in (row for row in rows if row)}
    except (ValueError, KeyError, csv.Error) as error:
        raise ManifestError(
            f"expected rows of an image number and a class label of 1 to 5 in {path}, got something else: {error}; "
            "repair the file, or rename it if it is not the label file of the Tecom images"
        ) from error
