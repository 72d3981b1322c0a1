import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_study import CHANGES, CountReads, predicted, written
from PIL import Image

from hemabridge.data.manifest import Manifest
from hemabridge.errors import InputError, ManifestError
from hemabridge.evaluation.predictions import read_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.fields import whole_field
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.models.selection_file import FILE as SELECTION
from hemabridge.progress import silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import read_settled
from hemabridge.storage.files import sha256_of
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.evaluate import evaluate as evaluating
from hemabridge.workflows.evaluate.answers import Answers
from hemabridge.workflows.evaluate.evaluate import Evaluation, evaluate
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
from hemabridge.workflows.selection.select import select
from hemabridge.workflows.study.study import study


def test_the_statistics_of_the_source_are_kept(finished: tuple[Path, StudyResults]) -> None:
    folder, results = finished
    assert (folder / "ensemble" / "site-statistics.safetensors").is_file()
    assert results.facts["ensemble: shape members"] == "1"
    assert results.facts["ensemble: batch norm"].endswith("(AdaBN)")


@pytest.mark.usefixtures("evaluated")
def test_each_model_is_opened_and_hashed_once_in_a_command(
    finished: tuple[Path, StudyResults], reads: CountReads
) -> None:
    study = finished[0]
    classifier, translator, pixel, shape = (
        snapshot
        for pattern in ("classifiers/*", "translator", "translators/pixel", "ensemble/members/0/0")
        for snapshot in [max(study.glob(f"{pattern}/snapshots/*.safetensors"))]
    )
    lut, normalizer = (study / "ensemble" / f"{name}.json" for name in ("learned-lut-learner", "linear-ot"))
    reads.check_once("study of an ensemble", classifier, translator, pixel, shape, lut)
    reads.check_once("evaluate, fit = False", classifier, translator, pixel, shape, lut, normalizer)
    reads.check_once("evaluate, fit = True", classifier, shape)


@pytest.mark.parametrize("fit", [False, True])
def test_each_image_is_read_and_hashed_and_searched_once(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    tmp_path: Path,
    reads: CountReads,
    monkeypatch: pytest.MonkeyPatch,
    fit: bool,
) -> None:
    folder, searched = tmp_path / "cells", Counter[str]()
    for number, path in enumerate(source.paths()):
        image = Image.open(path).resize((32 + number, 32 + number))  # each size is seldom: all are searched for fields
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{number}.png")
    for module, name in ((whole_field, "is_whole_field"), (evaluating, "no_single_cell")):
        plain = getattr(module, name)

        def counting(*args: Any, plain: Any = plain, name: str = name, **more: Any) -> Any:
            searched[name] += 1
            return plain(*args, **more)

        monkeypatch.setattr(module, name, counting)
    command, files = f"evaluate images, fit = {fit}", sorted(folder.iterdir())
    with reads(command):
        evaluate(finished[0], folder, tmp_path / "out", fit=fit)
    assert reads.times(command, files) == [1] * len(files)
    digests = [sha256_of(path) for path in files]
    assert [reads.hashed[command][digest] for digest in digests] == [1] * len(files)
    assert searched == {"is_whole_field": len(files), "no_single_cell": len(files)}


def test_a_study_is_used_without_the_images_that_it_learned_from(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(finished[0], tmp_path / "moved"))
    recipe = (moved / "recipe.toml").read_text()
    for site in ("clinic-like", "yellow-field"):
        recipe = re.sub(rf'"[^"]*/{site}/manifest.csv"', f'"{tmp_path}/gone/{site}/manifest.csv"', recipe)
    (moved / "recipe.toml").write_text(recipe)
    cells = written(source, tmp_path / "cells.csv")
    here = evaluate(finished[0], cells, tmp_path / "here", root=source.root)
    there = evaluate(moved, cells, tmp_path / "there", root=source.root)
    assert (here.rows, here.mode) == (there.rows, there.mode)
    assert predicted(tmp_path / "here").equals(predicted(tmp_path / "there"))
    with pytest.raises(ManifestError, match=r"expected the images of .*gone.*put them back.*export"):
        evaluate(moved, cells, tmp_path / "fit", root=source.root, fit=True)


def test_the_studys_own_cells_are_named_as_the_study_named_them(
    finished: tuple[Path, StudyResults], source: Manifest, evaluated: dict[bool, tuple[Path, Evaluation]]
) -> None:
    folder, results = finished
    out, done = evaluated[False]
    site = str(results.facts["source site"])
    then = {p.run[2:]: p for p in read_predictions(folder / "predictions.csv")[0] if p.site == site}
    now = {p.run[2:]: p for p in read_predictions(out / "predictions.csv")[0]}
    assert now.keys() == then.keys()
    for key, answers in now.items():
        assert answers.ids == then[key].ids
        np.testing.assert_allclose(answers.probabilities, then[key].probabilities, atol=1e-5, err_msg=str(key))
    rows = {(r.classifier, r.images, r.snapshot, r.labels_used): r for r in done.rows}
    for row in results.rows:
        if row.site == site and row.classifier != "ensemble":
            found = rows[row.classifier, row.images, row.snapshot, row.labels_used]
            assert (found.accuracy, found.recall, found.n, found.mode) == (
                row.accuracy,
                row.recall,
                row.n,
                row.mode,
            )
    assert len(done.tests) == len([row for row in done.rows if row.images != "original"])
    assert (done.by, done.mode) == ("ensemble, 6 labels", "strict")
    assert done.home == results.home
    table = predicted(out)
    assert table["path"].to_list() == source.column("path")
    assert table["class"].to_list() == source.column("class")
    best = now["ensemble", "ensemble", None, 6]
    assert table["predicted_class"].to_list() == [results.classes[place] for place in best.predicted]
    np.testing.assert_allclose(table["probability"].to_numpy(), best.probabilities.max(axis=1), atol=1e-4)
    assert (done.predicted, done.failed, done.unscored) == (len(source), {}, 0)


def test_python_classifies_original_cells_as_the_command_does(
    finished: tuple[Path, StudyResults], source: Manifest, evaluated: dict[bool, tuple[Path, Evaluation]]
) -> None:
    folder, results = finished
    by_command = next(
        run
        for run in read_predictions(evaluated[False][0] / "predictions.csv")[0]
        if (run.classifier, run.images) == ("Learner", "original")
    )
    crop_px = read_settled(expect_kind(read_recipe(folder / "recipe.toml"), StudyRecipe).source, folder).crop_px
    assert isinstance(crop_px, int)
    found = open_model(folder / "classifiers" / "learner", crop_px=crop_px).classify(map(read_image, source.paths()))
    assert found.classes == results.classes
    assert by_command.ids == tuple(source.column("path"))
    np.testing.assert_array_equal(found.probabilities, by_command.probabilities)


def test_of_one_name_no_other_answers_are_worked_out(finished: tuple[Path, StudyResults]) -> None:
    recipe = expect_kind(read_recipe(finished[0] / "recipe.toml"), StudyRecipe)
    study = FinishedStudy(finished[0], recipe, finished[1].classes, silent)

    def images_at(px: int) -> UInt8Images:
        return np.random.default_rng(px).integers(0, 256, (3, px, px, 3), dtype=np.uint8)

    every = {each.name: each.probabilities for each in study.answers(images_at)}
    assert list(every) == study.names(fit=False)
    assert study.default_name() == list(every)[-1] == "ensemble, 6 labels"
    for name, probabilities in every.items():
        found = {each.name: each.probabilities for each in study.answers(images_at, name)}
        np.testing.assert_array_equal(found[name], probabilities, err_msg=name)
        assert len(found) == (2 if name.startswith("ensemble") else 1)


@pytest.mark.slow
def test_without_an_agreement_the_selected_snapshot_names_the_cells(
    small_study: Path, source: Manifest, tmp_path: Path
) -> None:
    changes = (
        "source_fine_tuning=false",
        "normalizers=[]",
        "tested_epochs=[1, 2]",
        "guard=false",
        "audit=false",
        CHANGES[6],
    )
    recipe, folder = expect_kind(read_recipe(small_study, changes), StudyRecipe), tmp_path / "study"
    study(recipe, folder, fabric=start_fabric("cpu"))
    cells = written(source, tmp_path / "cells.csv")

    def names_by() -> str:
        return evaluate(folder, cells, tmp_path / "out", root=source.root).by

    assert names_by() == "Learner on epoch-0002"
    found = select(folder)
    for name, by in (("epoch-0001", "epoch-0001"), ("epoch-0002", "epoch-0002"), (None, "epoch-0002")):
        (folder / SELECTION).write_text(replace(found, chosen=name).to_json(), encoding="utf-8")
        assert names_by() == f"Learner on {by}"
    (folder / SELECTION).write_text(replace(found, chosen="epoch-0001").to_json(), encoding="utf-8")
    kept = (folder / "recipe.toml").read_text(encoding="utf-8")
    fewer = re.sub(r"tested_epochs = \[[^]]*\]", "tested_epochs = [2]", kept)
    (folder / "recipe.toml").write_text(fewer, encoding="utf-8")
    assert names_by() == "Learner on epoch-0002"  # the study asked nobody about the chosen one


@pytest.mark.parametrize("fit", [False, True])
def test_an_unknown_name_is_refused_before_any_image_is_read(
    finished: tuple[Path, StudyResults], evaluated: dict[bool, tuple[Path, Evaluation]], tmp_path: Path, fit: bool
) -> None:
    out, rows = tmp_path / "out", evaluated[fit][1].rows
    names = {
        Answers(r.classifier, r.images, r.snapshot, r.labels_used, np.zeros((0, 2), np.float32)).name for r in rows
    }
    gone = tmp_path / "gone"
    with pytest.raises(InputError) as error:
        evaluate(finished[0], gone, out, by="nobody", fit=fit)
    for name in names:
        assert name in str(error.value)
        with pytest.raises(InputError, match=r"got nothing.*gone"):  # the name is known, so that images are looked for
            evaluate(finished[0], gone, out, by=name, fit=fit)
    # A name may hold a comma.
    assert str(error.value).count(", ") == sum(name.count(", ") + 1 for name in names)


def test_an_agreement_names_no_file_outside_of_its_study(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished[0], folder)
    kept = folder / "ensemble" / "ensemble.json"
    said = json.loads(kept.read_text())
    shutil.copy(folder / said["restainings"]["linear-ot"], tmp_path / "elsewhere.json")
    kept.write_text(json.dumps({**said, "restainings": {"linear-ot": "../elsewhere.json"}}))
    with pytest.raises(InputError, match="expected a file of the study"):
        evaluate(folder, written(source, tmp_path / "cells.csv"), tmp_path / "out", root=source.root)
