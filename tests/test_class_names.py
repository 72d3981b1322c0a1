import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.class_names import spelled_otherwise
from hemabridge.data.manifest import make_manifest
from hemabridge.data.new_cells import Listed, NewCrop, read_new_cells
from hemabridge.errors import ManifestError
from hemabridge.progress import silent
from hemabridge.recipes.two_sites import shared_classes

ACCENT = "linfocito at\u00edpico"
SPELLINGS = [("neutrophil", "Neutrophil"), (ACCENT, unicodedata.normalize("NFD", ACCENT)), ("band cell", "band_cell")]
SPELLINGS += [("neutrophil", "neutrophil."), ("neutrophil", "neutro\u200bphil")]


def listed(root: Path, classes: list[str]) -> Listed:
    for number in range(len(classes)):
        Image.new("RGB", (40, 40), (number, 90, 160)).save(root / f"{number}.png")
    paths = [f"{number}.png" for number in range(len(classes))]
    return Listed(make_manifest({"path": paths, "site": ["s"] * len(paths), "class": classes}, root))


@pytest.mark.parametrize(("name", "other"), SPELLINGS)
def test_a_class_that_is_written_otherwise_is_scored(tmp_path: Path, name: str, other: str) -> None:
    cells = read_new_cells(listed(tmp_path, [other, "", "strange"]), ("blast", name), NewCrop(40), 32, silent)
    assert np.array_equal(cells.labels, [1, -1, -1])


def test_classes_of_which_none_is_known_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected cells of the classes blast to score, got only odd, strange"):
        read_new_cells(listed(tmp_path, ["odd", "strange", ""]), ("blast",), NewCrop(40), 32, silent)


def test_two_classes_that_differ_in_case_alone_stay_apart(tmp_path: Path) -> None:
    cells = read_new_cells(listed(tmp_path, ["a", "A"]), ("A", "a"), NewCrop(40), 32, silent)
    assert np.array_equal(cells.labels, [1, 0])


@pytest.mark.parametrize(("name", "other"), SPELLINGS)
def test_sites_that_write_a_class_otherwise_are_refused_with_the_pair(name: str, other: str) -> None:
    with pytest.raises(ManifestError, match=r"at the source and .* at the target; choose one") as error:
        shared_classes(["blast"] * 9 + [name] * 9, ["blast"] * 9 + [other] * 9, ())
    assert repr(name) in str(error.value)
    assert repr(other) in str(error.value)
    assert spelled_otherwise(["blast", name], ["blast", other]) == [(name, other)]
