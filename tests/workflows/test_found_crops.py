"""Crops of `hemabridge find` in every command that takes cells: the same cell gets the same square, and class."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_fields import SMALL_FIELDS

from hemabridge.data.index import index_folder
from hemabridge.data.new_cells import crop_of
from hemabridge.evaluation.differential_results import DifferentialResults
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.imaging.files import read_image
from hemabridge.imaging.found_scale import FoundScale, read_scale
from hemabridge.imaging.scale import CropSpec, side_at
from hemabridge.models import open_model
from hemabridge.workflows.adapt.adapt import adapt
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import Run, opened_for, run
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.classify.classify import Classified
from hemabridge.workflows.differential.differential import differential
from hemabridge.workflows.export.export import export
from hemabridge.workflows.find.find import find
from hemabridge.workflows.simulate.whole_fields import simulate_fields
from hemabridge.workflows.standardize.standardize import standardize_with

SPEC = replace(SMALL_FIELDS, leukocytes=7.0)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields of one hospital through two objectives."""
    out = tmp_path_factory.mktemp("found-crops")
    simulate_fields(out / "fine", 3, SPEC, hospitals=("yellow-field",))
    coarse = replace(SPEC, seed=6, width_px=240, height_px=200, um_per_px=0.32)
    simulate_fields(out / "coarse", 2, coarse, hospitals=("yellow-field",))
    for scale in ("fine", "coarse"):
        for path in (out / scale / "yellow-field").glob("*.png"):
            (out / "fields").mkdir(exist_ok=True)
            shutil.copy(path, out / "fields" / f"{scale}-{path.name}")
    return out / "fields"


@pytest.fixture(scope="module")
def found(fields: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found") / "found"
    find(fields, out)
    return out / "cells"


@pytest.fixture(scope="module")
def adapted(hospitals: Path, found: Path, adapt_config: AdaptConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was adapted to these crops."""
    out = tmp_path_factory.mktemp("to-found") / "run"
    adapt(hospitals / "clinic-like", found, out, config=adapt_config)
    return out


@pytest.fixture(scope="module")
def done(adapted: Path, found: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """Its results of these crops: the folder, and what the call returned."""
    out = tmp_path_factory.mktemp("done") / "results"
    return out, run(adapted, found, out)


def named(path: Path) -> dict[str, str]:
    rows = pl.read_csv(path / "predictions.csv").iter_rows(named=True)
    return {row["path"]: row["predicted_class"] for row in rows}


def check_same(run_folder: Path, classified: Classified, count: DifferentialResults) -> None:
    """Check that all crops have the same class and probabilities."""
    own = {cell.path.removeprefix("found/cells/"): cell for cell in count.cells}
    assert named(run_folder) == {path: "unknown" if cell.unknown else cell.predicted for path, cell in own.items()}
    for row in classified.rows:
        assert row.probabilities == pytest.approx(own[row.path].probabilities, abs=1e-5)


def pixels(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*.png")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): read_image(path).tobytes() for path in files}


def test_a_run_and_a_count_give_the_same_classes_for_the_same_cells(
    adapted: Path, fields: Path, done: tuple[Path, Run], tmp_path: Path
) -> None:
    folder, classified = done[0], done[1].classified
    assert classified.site is not None
    assert classified.site.answer != "out-of-distribution"  # which would withhold the classes
    result = differential(adapted, fields, tmp_path / "count")
    assert len(result.cells) > 20
    check_same(folder, classified, result)
    assert classified.site.fact == result.site_fact
    assert pixels(folder / "restained") == pixels(tmp_path / "count" / "restained")


def test_the_class_of_a_cell_does_not_depend_on_the_others_of_its_folder(
    adapted: Path, found: Path, done: tuple[Path, Run], tmp_path: Path
) -> None:
    first = sorted(found.iterdir())[0]
    shutil.copytree(first, tmp_path / "few" / first.name)
    part = run(adapted, tmp_path / "few", tmp_path / "part").classified
    classes = {row.path: row.probabilities for row in done[1].classified.rows}
    for row in part.rows:
        assert row.probabilities == pytest.approx(classes[row.path], abs=1e-5)


def test_adapt_cuts_each_crop_at_its_own_scale(adapted: Path, found: Path) -> None:
    scales = [scale.um_per_px for path in sorted(found.rglob("*.png")) if (scale := read_scale(path))]
    assert max(scales) > 1.3 * min(scales)
    assert Adapted.of_folder(adapted).crop_px == round(CELL_CROP_UM / float(np.median(scales)))
    manifest = index_folder(found, "found").manifest
    crop = crop_of(manifest)
    sides = {crop.side_at(read_scale(path)) for path in manifest.paths()}
    assert sides == {round(CELL_CROP_UM / scale) for scale in scales}
    assert crop_of(manifest.with_crop_px(30)).side_at(FoundScale(0.1, 250)) == 30


def test_a_run_to_other_images_gives_the_same_classes_too(
    adapted: Path, fields: Path, found: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapted, tmp_path / "other"))
    changed = replace(Adapted.of_folder(adapted), crop_px=20)
    (other / ADAPTED_FILE).write_text(changed.to_json(), encoding="utf-8")
    done = run(other, found, tmp_path / "run").classified
    check_same(tmp_path / "run", done, differential(other, fields, tmp_path / "count"))


@pytest.mark.slow
def test_a_bundle_gives_the_same_classes_too(
    adapted: Path, found: Path, done: tuple[Path, Run], tmp_path: Path
) -> None:
    bundle = export(adapted, tmp_path / "model").path
    run(bundle, found, tmp_path / "by-bundle")
    assert named(done[0]) == named(tmp_path / "by-bundle")
    stated = open_model(bundle, crop_px=30)
    for model in (stated.classifying, stated.restaining):
        crop = model.crop(scale=FoundScale(0.1, 250))
        assert crop is not None
        assert crop.crop_px == 30


def test_restained_crops_state_their_scale_and_differ_from_those_at_a_wrong_one(
    adapted: Path, found: Path, tmp_path: Path
) -> None:
    normalizer = opened_for(adapted).restainer
    standardize_with(normalizer, found, tmp_path / "own")
    for path in sorted(found.rglob("*.png")):
        if path.is_file():
            assert read_scale(tmp_path / "own" / path.relative_to(found)) == read_scale(path)
    standardize_with(normalizer.with_crop(12), found, tmp_path / "stated")
    assert pixels(tmp_path / "own").keys() == pixels(tmp_path / "stated").keys()
    assert pixels(tmp_path / "own") != pixels(tmp_path / "stated")


def test_a_classifier_of_another_program_sees_the_same_square(
    brightest: Path, adapted: Path, found: Path, tmp_path: Path
) -> None:
    model = open_model(brightest, classes=("red", "green", "blue"))
    scale = FoundScale(0.1, 250)
    assert model.crop() is None
    assert model.crop(scale=scale) == CropSpec(184, 96)
    assert open_model(brightest, classes=("red", "green", "blue"), crop_px=90).crop(scale=scale) == CropSpec(90, 96)
    assert opened_for(adapted).classifier.crop(scale=scale) == CropSpec(184, 32)


def test_a_model_of_whole_images_takes_whole_crops() -> None:
    assert side_at(FoundScale(0.1, 250), CELL_CROP_UM, "whole") == "whole"
    assert side_at(None, CELL_CROP_UM, 77) == side_at(FoundScale(0.1, 250), None, 77) == 77
