"""A normalizer from images in memory, and results as tables."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import hemabridge as hb
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.evaluation.results import Row
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers import NORMALIZERS, normalizer_from_json
from hemabridge.workflows.fit import fit
from hemabridge.workflows.standardize.standardize import standardize


def written(folder: Path, images: UInt8Images) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        write_image(folder / f"{number:02d}.png", image)
    return folder


def digest(images: list[UInt8Image]) -> str:
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()


@pytest.mark.parametrize("method", NORMALIZERS)
def test_it_is_to_the_bit_what_fit_and_standardize_do(
    method: str, tmp_path: Path, theirs: UInt8Images, ours: UInt8Images
) -> None:
    theirs, ours = theirs[::2], ours[::2]
    source, target = written(tmp_path / "theirs", theirs), written(tmp_path / "ours", ours)
    file, out = tmp_path / "fitted.json", tmp_path / "out"
    by_command = fit(method, source, target, file).normalizer
    files = sorted(source.glob("*.png"))
    mine = hb.fit_normalizer(method, map(hb.read_image, files), map(hb.read_image, sorted(target.glob("*.png"))))
    assert mine == by_command
    standardize(file, source, out)
    restained = [hb.read_image(out / path.name) for path in files]
    assert digest(restained) == digest([mine(hb.read_image(path)) for path in files])
    assert digest(restained) != digest(list(theirs))


def test_an_array_is_fitted_as_its_images_one_by_one(theirs: UInt8Images, ours: UInt8Images) -> None:
    assert hb.fit_normalizer("linear-ot", theirs, ours) == hb.fit_normalizer("linear-ot", iter(theirs), list(ours))


def test_images_of_several_sizes_are_cut_at_the_stated_square(theirs: UInt8Images, ours: UInt8Images) -> None:
    padded = [np.pad(image, ((n, n), (n, n), (0, 0)), "edge") for n, image in enumerate(theirs)]
    whole = hb.fit_normalizer("linear-ot", theirs, ours, source_crop_px=48, target_crop_px=48)
    assert hb.fit_normalizer("linear-ot", padded, ours, source_crop_px=48, target_crop_px=48) == whole
    assert hb.fit_normalizer("linear-ot", theirs, ours, source_crop_px=24, target_crop_px=48) != whole


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ([], "source images: expected at least one image"),
        (np.zeros((2, 20, 20), np.uint8), r"got uint8\[20, 20\] at position 0"),
        ([np.zeros((20, 20, 3), np.float32)], r"got float32\[20, 20, 3\] at position 0"),
        (["cell.png"], r"got str at position 0; read files with hemabridge\.read_image"),
        ("cells", "got str"),
        (3, "got int"),
        ([np.full((40, 40, 3), 255, np.uint8)], "expected nuclei.*'whole'"),
    ],
)
def test_other_things_than_images_of_cells_are_refused(source: object, told: str, ours: UInt8Images) -> None:
    with pytest.raises(ImageError, match=told):
        hb.fit_normalizer("macenko", source, ours)  # type: ignore[arg-type]


def test_an_unknown_method_is_refused_before_any_image_is_read(ours: UInt8Images) -> None:
    with pytest.raises(InputError, match="did you mean 'macenko'"):
        hb.fit_normalizer("macenk", iter(()), ours)


def test_a_path_in_the_place_of_the_text_is_told_how_to_be_opened(tmp_path: Path) -> None:
    for given in (tmp_path / "macenko.json", str(tmp_path / "macenko.json")):
        with pytest.raises(ModelError, match=r"expected the text.*hemabridge\.open_model"):
            normalizer_from_json(given)  # type: ignore[arg-type]


def test_a_study_is_a_table(tmp_path: Path) -> None:
    row = Row(
        "theirs", "test", "ResNet", "macenko", None, 0, 4, 0.75, 0.5, {"a": 0.5, "b": None}, (0.3, 0.9), "none", 1
    )
    results = hb.StudyResults("small", ("a", "b"), (row,))
    (tmp_path / "results.json").write_text(results.to_json(), encoding="utf-8")
    assert hb.read_study(tmp_path) == hb.read_study(tmp_path / "results.json") == results
    assert results.table().rows(named=True) == [
        {
            "site": "theirs",
            "part": "test",
            "classifier": "ResNet",
            "images": "macenko",
            "snapshot": None,
            "labels_used": 0,
            "n": 4,
            "accuracy": 0.75,
            "balanced_accuracy": 0.5,
            "low": 0.3,
            "high": 0.9,
            "mode": "none",
            "seed": 1,
            "recall of a": 0.5,
            "recall of b": None,
        }
    ]
    assert hb.StudyResults("none", ("a",), ()).table().schema["recall of a"] == pl.Float64
    with pytest.raises(hb.HemabridgeError, match=r"results\.json of a study"):
        hb.read_study(tmp_path / "none")
