"""Each classifier, translator and guard gets cells of its own size, cut from the original images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import read_manifest, write_manifest
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.data.splits import split
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.evaluation.predictions import Predictions, read_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.guard.cell_sets import guard_cells
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.models.guard_file import Guard
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.storage.files import folder_name
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.presets import Preset
from hemabridge.workflows.evaluate.evaluate import evaluate
from hemabridge.workflows.study import translation
from hemabridge.workflows.study.study import study

pytestmark = pytest.mark.slow

LARGE_PX, SMALL_PX, TINY_PX = 64, 32, 16
COMPARED = {"film": LARGE_PX, "pixel": TINY_PX}
"""The sizes of two translators that are compared with the study's own of `SMALL_PX`."""
CLASSES = ("lymphocyte", "neutrophil")
CHECKS = np.where(np.indices((LARGE_PX, LARGE_PX)).sum(axis=0) % 2, 1, -1)[:, :, None]
"""A pattern of one pixel, which no image of half the size can show."""
TRAIN = '{{architecture = "test_resnet", size_px = {px}, epochs = 1, learning_rate = 1e-3, batch_size = 8}}'
CHANGES = (
    'classes=["lymphocyte", "neutrophil"]',
    "source_fine_tuning=false",
    "tested_epochs=[2]",
    "audit=false",
    "adabn=true",
    'translators=["film", "pixel"]',
    'ensemble={translator = false, restainings = ["white-point"], learned_lut = {images = 24}}',
    f'classifiers=[{{name = "Large", train = {TRAIN.format(px=LARGE_PX)}}}, '
    f'{{name = "Small", train = {TRAIN.format(px=SMALL_PX)}}}]',
)


PARTS = {
    "source": {"train": 0.5, "test": 0.5},
    "target": {"train": 0.15, "validation": 0.35, "test": 0.5},
}
"""The cells are divided before the study, which would look for copies among cells that all have the same pattern."""


def contrast(images: UInt8Images) -> float:
    """Return how much of `CHECKS` is in images, in gray levels; enlarged ones show none."""
    size = images.shape[1]
    return float((images.astype(float) * CHECKS[:size, :size]).mean())


@pytest.fixture(scope="module")
def finished(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detail")
    sites = []
    for role, name in (("source", "yellow-field"), ("target", "clinic-like")):
        cells, labels = simulate_cells(CLASSES, 20, HOSPITALS[name], 1, LARGE_PX)
        for number, (cell, label) in enumerate(zip(cells, labels.tolist(), strict=True)):
            shown = np.clip(cell.astype(int).clip(40, 215) + 30 * CHECKS, 0, 255).astype(np.uint8)
            path = folder / role / CLASSES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, shown)
        divided = split(index_folder(folder / role, name).manifest, PARTS[role], seed=0)
        table = folder / f"{role}.csv"
        write_manifest(divided, table)
        sites.append(f'{role}={{site="{name}", manifest="{table}", root="{folder / role}", crop_px={LARGE_PX}}}')
    plain = folder / "plain.toml"
    text = small_study.read_text(encoding="utf-8")
    plain.write_text(text[: text.index("[truth]")] + text[text.index("[translator]") :], encoding="utf-8")
    recipe = expect_kind(read_recipe(plain, (*CHANGES, *sites)), StudyRecipe)
    presets = {
        name: Preset("a quick one", recipe.translator.model_copy(update={"load_px": px, "crop_px": px}))
        for name, px in COMPARED.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translation, "PRESETS", presets)
        study(recipe, folder / "out", fabric=start_fabric("cpu"))
    return folder / "out"


def scored_cells(finished: Path, size_px: int) -> CellSet:
    manifest = read_manifest(finished / "split" / "yellow-field" / "manifest.csv", finished.parent / "source")
    tests = manifest.select(pl.col("split") == "test")
    return load_cells(tests, classes=CLASSES, size_px=size_px, crop_px=LARGE_PX)


def of(finished: Path, classifier: str, images: str) -> Predictions:
    found = read_predictions(finished / "predictions.csv")[0]
    return next(
        p for p in found if (p.classifier, p.images, p.site, p.part) == (classifier, images, "yellow-field", "test")
    )


def classifier_of(finished: Path, name: str) -> SnapshotClassifier:
    return open_model(list_snapshots(finished / "classifiers" / folder_name(name))[-1].path).classifier


def test_only_the_larger_cells_show_the_pattern(finished: Path) -> None:
    assert contrast(scored_cells(finished, LARGE_PX).images) > 25
    assert abs(contrast(scored_cells(finished, SMALL_PX).images)) < 2


@pytest.mark.parametrize(("name", "size_px"), [("Large", LARGE_PX), ("Small", SMALL_PX)])
def test_each_classifier_sees_originals_cut_at_its_own_size(finished: Path, name: str, size_px: int) -> None:
    cells = scored_cells(finished, size_px)
    found, classifier = of(finished, name, "original"), classifier_of(finished, name)
    assert found.ids == cells.ids
    np.testing.assert_allclose(found.probabilities, classifier.probabilities(cells.images), atol=1e-5)


def test_a_larger_classifier_does_not_see_enlarged_cells(finished: Path) -> None:
    enlarged = classifier_of(finished, "Large").probabilities(scored_cells(finished, SMALL_PX).images)
    assert np.abs(of(finished, "Large", "original").probabilities - enlarged).max() > 1e-4


@pytest.mark.parametrize(("images", "folder"), [("white-point", "white-point"), ("cyclegan", "epoch-0002")])
def test_restained_cells_of_a_larger_classifier_keep_the_originals_detail(
    finished: Path, images: str, folder: str
) -> None:
    large = np.load(finished / f"restained-{LARGE_PX}px" / folder / "test.npy")
    small = np.load(finished / "restained" / folder / "test.npy")
    assert (large.shape[1:3], small.shape[1:3]) == ((LARGE_PX, LARGE_PX), (SMALL_PX, SMALL_PX))
    assert contrast(large) > 15
    assert contrast(small) < 5
    cells = scored_cells(finished, LARGE_PX).images
    if images == "white-point":
        expected = (
            normalizer_from_json((finished / "restained" / folder / "normalizer.json").read_text(encoding="utf-8"))
            .of_cells()
            .standardize(cells)
        )
        np.testing.assert_array_equal(large, expected)
    else:  # the change that the translator makes at its own size
        change = large.astype(float) - cells
        coarse = change.reshape(len(large), SMALL_PX, 2, SMALL_PX, 2, 3).mean(axis=(2, 4))
        own = small.astype(float) - scored_cells(finished, SMALL_PX).images
        assert np.abs(coarse - own).mean() < 0.3 * np.abs(own).mean()
    for name, shown in (("Large", large), ("Small", small)):
        expected = classifier_of(finished, name).probabilities(shown)
        np.testing.assert_allclose(of(finished, name, images).probabilities, expected, atol=1e-5)


def test_new_cells_are_cut_as_those_of_the_study(finished: Path, tmp_path: Path) -> None:
    manifest = read_manifest(finished / "split" / "yellow-field" / "manifest.csv", finished.parent / "source")
    write_manifest(manifest.select(pl.col("split") == "test"), tmp_path / "cells.csv")
    evaluate(finished, tmp_path / "cells.csv", tmp_path / "out", root=manifest.root)
    now = {(p.classifier, p.images): p for p in read_predictions(tmp_path / "out" / "predictions.csv")[0]}
    assert {images for _, images in now} == {
        "original",
        "white-point",
        *COMPARED,
        "cyclegan",
        "learned-lut",
        "ensemble",
    }
    assert len(now) == 14
    for (classifier, images), answers in now.items():
        then = of(finished, classifier, images)
        np.testing.assert_allclose(answers.probabilities, then.probabilities, atol=1e-5)


def made_of(finished: Path, name: str, folder: str = "restained") -> UInt8Images:
    images: UInt8Images = np.load(finished / folder / name / "test.npy")
    return images


@pytest.mark.parametrize(("name", "size_px"), COMPARED.items())
def test_a_compared_translator_sees_originals_cut_at_its_own_size(finished: Path, name: str, size_px: int) -> None:
    translator = open_model(list_snapshots(finished / "translators" / name)[-1].path).cell_standardizer()
    expected = translator.standardize(scored_cells(finished, size_px).images)
    np.testing.assert_allclose(made_of(finished, name).astype(int), expected, atol=1)


def test_what_a_larger_translator_made_is_shrunk_for_a_smaller_classifier(finished: Path) -> None:
    own, shown = made_of(finished, "film"), made_of(finished, "film", f"restained-{SMALL_PX}px")
    np.testing.assert_array_equal(shown, [resize_square(image, SMALL_PX) for image in own])
    for name, images in (("Large", own), ("Small", shown)):
        expected = classifier_of(finished, name).probabilities(images)
        np.testing.assert_allclose(of(finished, name, "film").probabilities, expected, atol=1e-5)


def test_what_a_smaller_translator_changed_is_shown_with_the_originals_detail(finished: Path) -> None:
    shown = made_of(finished, "pixel", f"restained-{LARGE_PX}px")
    assert contrast(shown) > 15
    expected = classifier_of(finished, "Large").probabilities(shown)
    np.testing.assert_allclose(of(finished, "Large", "pixel").probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "size_px"), [("white-point", SMALL_PX), ("epoch-0002", SMALL_PX), *COMPARED.items()])
def test_the_guard_compares_cells_at_the_size_at_which_the_model_works(finished: Path, name: str, size_px: int) -> None:
    found = next(c for c in StudyResults.read(finished / "results.json").guard if name in (c.images, c.snapshot))
    assert found.limits_from >= 14
    thresholds = Guard.read(finished / "guard" / name / "guard.json").thresholds
    before = scored_cells(finished, size_px)
    expected = guard_cells(before, replace(before, images=made_of(finished, name)), thresholds).verdicts.severity
    np.testing.assert_allclose([cell.severity for cell in found.cells], expected, rtol=1e-6)
    if size_px == LARGE_PX:
        small = scored_cells(finished, SMALL_PX)
        after = replace(small, images=made_of(finished, name, f"restained-{SMALL_PX}px"))
        assert np.abs(guard_cells(small, after, thresholds).verdicts.severity - expected).max() > 1e-3


@pytest.fixture(scope="module")
def refitted(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an ensemble that was fitted again to the scored cells."""
    manifest = read_manifest(finished / "split" / "yellow-field" / "manifest.csv", finished.parent / "source")
    folder = tmp_path_factory.mktemp("refitted")
    write_manifest(manifest.select(pl.col("split") == "test"), folder / "cells.csv")
    evaluate(finished, folder / "cells.csv", folder / "out", root=manifest.root, fit=True, crop_px=LARGE_PX)
    return folder / "out"


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize(("name", "size_px"), [("Large", LARGE_PX), ("Small", SMALL_PX)])
def test_color_tables_and_refitted_studies_show_each_classifier_its_own_size(
    finished: Path, request: pytest.FixtureRequest, name: str, size_px: int, *, fit: bool
) -> None:
    cells, classifier = scored_cells(finished, size_px), classifier_of(finished, name)
    written, tables = finished, finished / "ensemble"
    if fit:
        written = tables = request.getfixturevalue("refitted")
    of_source = [p for p in read_predictions(written / "predictions.csv")[0] if p.site == "yellow-field"]
    predictions = {(p.classifier, p.images): p for p in of_source}
    original = predictions[name, "original"].probabilities
    np.testing.assert_allclose(original, classifier.probabilities(cells.images), atol=1e-5)
    table = normalizer_from_json(
        (tables / f"learned-lut-{folder_name(name)}.json").read_text(encoding="utf-8")
    ).of_cells()
    expected = mean_prediction([classifier], table.standardize(cells.images))
    np.testing.assert_allclose(predictions[name, "learned-lut"].probabilities, expected, atol=1e-5)
