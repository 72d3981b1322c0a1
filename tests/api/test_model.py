"""A model that was opened: one image as a transform, sets of images, classes as a table."""

import dataclasses
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import hemabridge as hb
from hemabridge.errors import ImageError, ManifestError, ModelError
from hemabridge.guard.thresholds import Thresholds
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.linear_transport import LinearTransport


@pytest.fixture
def model(tmp_path: Path, theirs: UInt8Images, ours: UInt8Images) -> hb.Model:
    path = tmp_path / "linear-ot.json"
    path.write_text(hb.fit_normalizer("linear-ot", theirs, ours).to_json(), encoding="utf-8")
    return hb.open_model(str(path))


@pytest.fixture
def small_classifier(small_study: Path) -> hb.Model:
    """A network with random weights, as the file of another program."""
    return hb.open_model(
        small_study.parent / "given.safetensors",
        classes=("lymphocyte", "blast", "neutrophil"),
        architecture="test_resnet",
        crop_px=40,
    )


def channels_first(images: UInt8Images) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, -3)))


def test_an_array_an_image_and_a_tensor_return_as_they_came(model: hb.Model, theirs: UInt8Images) -> None:
    wanted = model.standardize(theirs)
    assert (wanted != theirs).any()
    np.testing.assert_array_equal(model(theirs[1]), wanted[1])
    np.testing.assert_array_equal(model(theirs), wanted)
    picture = model(Image.fromarray(theirs[1]))
    assert isinstance(picture, Image.Image)
    np.testing.assert_array_equal(np.asarray(picture), wanted[1])
    assert torch.equal(model(channels_first(theirs[1])), channels_first(wanted[1]))


def test_a_translator_is_a_transform_that_travels_to_workers(small_snapshot: Path, theirs: UInt8Images) -> None:
    model = hb.open_model(small_snapshot)
    one_end, other_end = Pipe()
    sender = Thread(target=one_end.send, args=(model,))  # the pipe holds less than a model
    sender.start()
    received = other_end.recv()
    sender.join()
    wanted = model.standardize(theirs[:1])[0]
    np.testing.assert_array_equal(np.asarray(model(Image.fromarray(theirs[0]))), wanted)
    np.testing.assert_array_equal(received(theirs[0]), wanted)


def test_images_of_several_sizes_come_back_as_a_list(model: hb.Model, theirs: UInt8Images) -> None:
    restained = model.standardize(image for image in (theirs[0], theirs[1, :30]))
    assert isinstance(restained, list)
    assert [image.shape for image in restained] == [(48, 48, 3), (30, 48, 3)]
    np.testing.assert_array_equal(restained[0], model.standardize(theirs[:1])[0])


def test_other_things_than_images_are_refused(model: hb.Model, small_classifier: hb.Model) -> None:
    with pytest.raises(ImageError, match=r"images to re-stain: expected RGB uint8\[H, W, 3\], got str at position 0"):
        model.standardize(["cell.png"])  # type: ignore[list-item]
    with pytest.raises(ImageError, match=r"images to classify: .*got float32\[4, 4, 3\] at position 0"):
        small_classifier.classify(np.zeros((1, 4, 4, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected a model that re-stains, got a classifier"):
        small_classifier(np.zeros((4, 4, 3), np.uint8))


def test_classes_are_a_frozen_table(small_classifier: hb.Model, theirs: UInt8Images) -> None:
    found = small_classifier.classify(theirs)
    table = found.to_polars()
    assert table.columns == ["predicted_class", "probability", *(f"probability of {name}" for name in found.classes)]
    assert table["predicted_class"].to_list() == list(found.predicted)
    np.testing.assert_array_equal(
        table.select(pl.selectors.starts_with("probability of")).to_numpy(), found.probabilities
    )
    assert table["probability"].to_list() == [
        row[found.classes.index(c)] for row, c in zip(found.probabilities, found.predicted, strict=True)
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.classes = ()  # type: ignore[misc]
    none = small_classifier.classify([]).to_polars()
    assert none.schema == table.schema
    assert none.height == 0


def test_a_manifest_is_made_of_a_polars_table(tmp_path: Path, theirs: UInt8Images) -> None:
    Image.fromarray(theirs[0]).save(tmp_path / "a.png")
    table = pl.DataFrame({"path": ["a.png"], "site": ["theirs"], "class": [None], "crop_px": [40]})
    made = hb.Manifest.from_polars(table, str(tmp_path))
    table.write_csv(tmp_path / "manifest.csv")
    read = hb.read_manifest(tmp_path / "manifest.csv")
    assert made.table.equals(read.table)
    assert made.root == read.root
    with pytest.raises(ManifestError, match="the table"):
        hb.Manifest.from_polars(table.drop("site"), tmp_path)
    with pytest.raises(ManifestError, match=r"expected a polars DataFrame, got dict; .*read_manifest"):
        hb.Manifest.from_polars({"path": ["a.png"]}, tmp_path)  # type: ignore[arg-type]


def test_json_in_the_place_of_a_path_is_told_how_it_is_read(model: hb.Model) -> None:
    text = model.path.read_text(encoding="utf-8")
    with pytest.raises(ModelError, match=r"expected the path of a model, got JSON text.*normalizer_from_json"):
        hb.open_model(text)


@pytest.mark.parametrize("given", [Path("runs/model.json"), "runs/model.json", "model.json", 3])
def test_a_path_in_the_place_of_json_is_told_how_it_is_read(given: object) -> None:
    got = r"expected the text of a JSON object.*got (what may be a path|the path|int).*"
    with pytest.raises(ModelError, match=got + r"hemabridge\.open_model\(path\)"):
        LinearTransport.from_json(given)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=got + r"read_thresholds\(path\)"):
        Thresholds.from_json(given)  # type: ignore[arg-type]
    with pytest.raises(hb.HemabridgeError, match=got + r"StudyResults\.read\(path\)"):
        hb.StudyResults.from_json(given)  # type: ignore[arg-type]
