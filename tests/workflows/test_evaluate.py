import json
import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.manifest import Manifest, read_manifest, write_manifest
from hemabridge.domain.site_profile import Distance
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.errors import InputError, ManifestError, SplitError
from hemabridge.evaluation.predictions import read_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.fields import whole_field
from hemabridge.guard.thresholds import floors
from hemabridge.guard.verdict import Verdicts
from hemabridge.imaging.files import read_image
from hemabridge.imaging.provenance import SyntheticOrigin
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.models.guard_file import Guard
from hemabridge.models.selection_file import FILE as SELECTION
from hemabridge.models.site_answer import SiteAnswer
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.progress import silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import read_settled
from hemabridge.storage.files import sha256_of
from hemabridge.storage.stages import Stages
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.translators.presets import PRESETS, Preset
from hemabridge.workflows.adapt.apply import COLUMNS as RUN_COLUMNS
from hemabridge.workflows.classify.classify import WITHHELD
from hemabridge.workflows.evaluate import evaluate as evaluating
from hemabridge.workflows.evaluate import trust
from hemabridge.workflows.evaluate.answers import Answers, of_one_classifier
from hemabridge.workflows.evaluate.evaluate import FITTING, Evaluation, evaluate
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
from hemabridge.workflows.evaluate.predicted_table import COLUMNS
from hemabridge.workflows.evaluate.trust import Trust
from hemabridge.workflows.selection.select import select
from hemabridge.workflows.study import translation
from hemabridge.workflows.study.study import study

CountReads = Any

TRAIN = '{architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}'
CHANGES = (
    "source_fine_tuning=false",
    "guard=false",
    "audit=false",
    'normalizers=["white-point"]',
    'translators=["pixel"]',
    "tested_epochs=[2]",
    f'classifiers=[{{name = "Learner", train = {TRAIN}}}]',
    'ensemble={translator = false, restainings = ["linear-ot"], min_confidence = 0.0, '
    "few_labels = [6], learned_lut = {images = 24}, semi_supervised = {images = 16, batch_size = 8}, "
    "distillation = {images = 16, batch_size = 8}, "
    "members = [{count = 1, train = " + TRAIN.replace("epochs = 1", 'epochs = 1, view = "shape"') + "}]}",
)
QUICK = {
    "load_px": 32,
    "crop_px": 32,
    "stride": 1,
    "batch_size": 8,
    "epoch_images": 32,
    "constant_epochs": 1,
    "decay_epochs": 1,
    "snapshot_every_epochs": 2,
}


@pytest.fixture(scope="module")
def finished(
    small_study: Path, tmp_path_factory: pytest.TempPathFactory, reads: CountReads
) -> tuple[Path, StudyResults]:
    """Of a study with a color member and a shape member; its color translator trains for seconds."""
    out = tmp_path_factory.mktemp("finished") / "study"
    recipe = expect_kind(read_recipe(small_study, CHANGES), StudyRecipe)
    quick = PRESETS["pixel"].config.model_copy(update=QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translation, "PRESETS", {"pixel": Preset("a quick one", quick)})
        with reads("study of an ensemble"):
            return out, study(recipe, out, fabric=start_fabric("cpu"))


@pytest.fixture(scope="module")
def source(finished: tuple[Path, StudyResults]) -> Manifest:
    """The source's test part, as the study split it."""
    recipe = expect_kind(read_recipe(finished[0] / "recipe.toml"), StudyRecipe).source
    assert recipe.manifest is not None
    return read_manifest(finished[0] / "split" / recipe.site / "manifest.csv", recipe.manifest.parent).select(
        pl.col("split") == "test"
    )


def test_the_statistics_of_the_source_are_kept(finished: tuple[Path, StudyResults]) -> None:
    folder, results = finished
    assert (folder / "ensemble" / "site-statistics.safetensors").is_file()
    assert results.facts["ensemble: shape members"] == "1"
    assert results.facts["ensemble: batch norm"].endswith("(AdaBN)")


def written(manifest: Manifest, path: Path) -> Path:
    write_manifest(manifest, path)
    return path


@pytest.fixture(scope="module")
def evaluated(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    tmp_path_factory: pytest.TempPathFactory,
    reads: CountReads,
) -> dict[bool, tuple[Path, Evaluation]]:
    """The source's test part after the study's own models and after a fit: the folder and what the call returned."""
    folder = tmp_path_factory.mktemp("evaluated")
    cells = written(source, folder / "cells.csv")
    done = {}
    for fit in (False, True):
        with reads(f"evaluate, fit = {fit}"):
            done[fit] = folder / str(fit), evaluate(finished[0], cells, folder / str(fit), root=source.root, fit=fit)
    return done


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


def predicted(out: Path) -> pl.DataFrame:
    return pl.read_csv(out / "predicted-classes.csv", schema_overrides={"probability": pl.Float64}).fill_null("")


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


def test_cells_of_which_nobody_knows_the_class_are_named_and_bad_files_are_told(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_asked(*_: object) -> None:
        raise AssertionError("the ensemble was asked, though nobody sees its answers")

    monkeypatch.setattr(FittedEnsemble, "load", not_asked)
    folder = tmp_path / "night"
    folder.mkdir()
    for number, path in enumerate(source.paths()[:3]):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    (folder / "1b.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    Image.new("RGB", (7, 300)).save(folder / "3.png")
    Image.new("RGB", (48, 48), (230, 228, 232)).save(folder / "4.png")
    done = evaluate(finished[0], folder, tmp_path / "out", by="Learner on white-point")
    table = predicted(tmp_path / "out")
    assert [Path(name).stem for name in table["path"]] == ["0", "1", "1b", "2", "3", "4"]
    assert table["predicted_class"].to_list()[2] == ""
    assert all(
        name in finished[1].classes for place, name in enumerate(table["predicted_class"]) if place not in (2, 4, 5)
    )
    assert set(table["by"]) == {"Learner on white-point"}
    assert (done.predicted, list(done.failed), done.rows, done.unscored) == (3, ["1b.png", "3.png"], (), 4)
    assert (done.unknown, table["predicted_class"].to_list()[5]) == (1, "unknown")
    assert table["reason"].to_list()[5].startswith("no single leukocyte: ")
    assert "at least 8 x 8 pixels, to show a cell, got 7 x 300; " in table["reason"].to_list()[4]
    assert table["reason"].to_list()[2] == done.failed["1b.png"] != ""


def test_files_that_no_manifest_may_hold_get_a_row(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    folder, image = tmp_path / "night", source.paths()[0]
    folder.mkdir()
    for name in ("good.png", os.fsdecode(b"latin-\xe9.png"), "line\nbreak.png"):
        shutil.copy(image, folder / name)
    (folder / "link.png").symlink_to(image)
    done = evaluate(finished[0], folder, tmp_path / "out")
    table = predicted(tmp_path / "out")
    assert table["path"].to_list() == ["good.png", "latin-\\udce9.png", "line\\nbreak.png", "link.png"]
    assert table["predicted_class"].to_list()[1:] == [""] * 3
    assert [reason.rpartition("; ")[2] for reason in table["reason"]] == [
        "",
        "rename the file",
        "rename the file",
        "copy the file into it",
    ]
    assert (done.predicted, list(done.failed)) == (1, table["path"].to_list()[1:])
    (folder / "good.png").unlink()
    with pytest.raises(InputError, match=r"expected at least one usable image .* none of 3; latin-.*rename"):
        evaluate(finished[0], folder, tmp_path / "out")


def test_other_classes_are_named_and_not_scored(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    classes = ["basophil", *source.column("class")[1:]]
    other = Manifest(source.table.with_columns(pl.Series("class", classes)), source.root)
    done = evaluate(finished[0], written(other, tmp_path / "cells.csv"), tmp_path / "out", root=source.root)
    assert done.unscored == 1
    assert {row.n for row in done.rows} == {len(source) - 1}
    assert predicted(tmp_path / "out")["predicted_class"].to_list()[0] in finished[1].classes


def test_what_cannot_be_done_is_told(finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path) -> None:
    cells, out = written(source, tmp_path / "cells.csv"), tmp_path / "out"
    with pytest.raises(InputError, match="did you mean 'Learner on white-point'"):
        evaluate(finished[0], cells, out, root=source.root, by="Learner on white point")
    with pytest.raises(InputError, match="finished study"):
        evaluate(tmp_path, cells, out, root=source.root)
    with pytest.raises(InputError, match="nothing"):
        evaluate(finished[0], tmp_path / "missing", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected images"):
        evaluate(finished[0], tmp_path / "empty", out)
    origins = [SyntheticOrigin("0" * 64, "1" * 64, "test").as_text(), *[""] * (len(source) - 1)]
    synthetic = Manifest(source.table.with_columns(pl.Series("origin", origins)), source.root)
    with pytest.raises(SplitError, match="1 synthetic"):
        evaluate(finished[0], written(synthetic, tmp_path / "synthetic.csv"), out, root=source.root)
    assert not out.exists()


def test_nothing_of_others_is_replaced(finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path) -> None:
    study, folder = finished[0], tmp_path / "images" / "night"
    folder.mkdir(parents=True)
    shutil.copy(source.paths()[0], folder / "0.png")
    cells = written(source, tmp_path / "cells.csv")
    predictions = (study / "predictions.csv").read_bytes()
    for out in (study, study / "new", study.parent, folder, folder / "new", folder.parent):
        with pytest.raises(InputError, match="originals are never touched"):
            evaluate(study, folder, out)
    for out in (source.root, source.paths()[0].parent):
        with pytest.raises(InputError, match="expected a new or empty folder"):
            evaluate(study, cells, out, root=source.root)
    with pytest.raises(InputError, match="got a file"):
        evaluate(study, folder, cells)
    for number, (name, text) in enumerate(
        (("predictions.csv", "mine"), ("predicted-classes.csv", "mine"), ("linear-ot.json", "{}"), ("notes.txt", ""))
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / name).write_text(text)
        with pytest.raises(InputError, match=f"earlier call, got {name} in"):
            evaluate(study, folder, tmp_path / str(number))
        assert (tmp_path / str(number) / name).read_text() == text
    assert (study / "predictions.csv").read_bytes() == predictions
    assert list(folder.iterdir()) == [folder / "0.png"]


def test_the_folder_of_an_earlier_call_is_written_again(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    evaluated: dict[bool, tuple[Path, Evaluation]],
    tmp_path: Path,
) -> None:
    cells, out = written(source, tmp_path / "cells.csv"), Path(shutil.copytree(evaluated[True][0], tmp_path / "out"))
    assert set(predicted(out)["by"]) == {"ensemble and one classifier"}
    evaluate(finished[0], cells, out, root=source.root)
    assert set(predicted(out)["by"]) == {"ensemble, 6 labels"}
    assert predicted(out)["path"].to_list() == source.column("path")


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


def test_ensemble_and_one_classifier_are_averaged() -> None:
    class One:
        classes = ("bright", "dark")

        def probabilities(self, images: UInt8Images) -> Probabilities:
            return np.array([[0.9, 0.1]], np.float32)

    ensemble = Answers("ensemble", "ensemble", None, 0, np.array([[0.5, 0.5]], np.float32))
    alone, both = of_one_classifier(ensemble, One(), np.zeros((1, 2, 2, 3), np.uint8))
    np.testing.assert_allclose(alone.probabilities, [[0.9, 0.1]])
    np.testing.assert_allclose(both.probabilities, [[0.7, 0.3]], atol=1e-6)


def test_another_hospital_is_fitted_without_a_label(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    evaluated: dict[bool, tuple[Path, Evaluation]],
    tmp_path: Path,
) -> None:
    unlabeled = written(Manifest(source.table.with_columns(pl.lit("").alias("class")), source.root), tmp_path / "u.csv")
    again = evaluate(finished[0], unlabeled, tmp_path / "out", root=source.root, fit=True)
    answers = []
    for name, (out, done) in {"labeled": evaluated[True], "unlabeled": (tmp_path / "out", again)}.items():
        assert (done.by, done.predicted) == ("ensemble and one classifier", len(source))
        assert done.site is None  # twelve images are too few to describe a site
        assert normalizer_from_json((out / "linear-ot.json").read_text(encoding="utf-8")).standardize(
            np.zeros((1, 8, 8, 3), np.uint8)
        ).shape == (
            1,
            8,
            8,
            3,
        )
        assert (
            normalizer_from_json((out / "learned-lut-learner.json").read_text(encoding="utf-8")).method == "learned-lut"
        )
        assert not (out / FITTING).exists()
        answers.append(predicted(out).select("path", "predicted_class", "probability"))
        if name == "labeled":
            assert done.mode == "transductive"
            assert {(row.classifier, row.images, row.mode) for row in done.rows} == {
                ("Learner", "original", "none"),
                ("Learner", "learned-lut", "transductive"),
                ("ensemble", "original", "none"),
                ("ensemble", "ensemble", "transductive"),
                ("one classifier", "original", "transductive"),
                ("ensemble", "one classifier", "transductive"),
            }
            found = {p.run[2:4]: p.probabilities for p in read_predictions(out / "predictions.csv")[0]}
            of_one = 2 * found["ensemble", "one classifier"] - found["ensemble", "ensemble"]
            assert of_one.min() >= -1e-6
            np.testing.assert_allclose(of_one.sum(axis=1), 1, atol=1e-5)
            assert not np.array_equal(found["one classifier", "original"], found["Learner", "original"])
        else:
            assert done.rows == ()
    assert answers[0].equals(answers[1])


@pytest.mark.slow
def test_study_evaluate_and_benchmark_fit_the_same_ensemble_to_the_bit(
    finished: tuple[Path, StudyResults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from recommended_bench import Bench

    folder, results = finished
    recipe = expect_kind(read_recipe(folder / "recipe.toml"), StudyRecipe)
    own = read_settled(recipe.source, folder)
    manifest = own.manifest.select(pl.col("split") == "train")
    seen = own.cells(("train",), results.classes, recipe.size_px, lambda *_: None)
    loaded = FittedEnsemble.load(folder / "ensemble", folder, {})
    in_study = loaded.predict(seen.images)

    evaluate(folder, written(manifest, tmp_path / "cells.csv"), tmp_path / "out", root=manifest.root, fit=True)
    found = {p.run[2:]: p for p in read_predictions(tmp_path / "out" / "predictions.csv")[0]}
    evaluated = found["ensemble", "ensemble", None, 0]
    assert evaluated.ids == seen.ids
    np.testing.assert_array_equal(evaluated.probabilities, in_study)

    bench = Bench(recipe, Stages(tmp_path / "bench"), read_settled(recipe.target, folder))
    context = RunContext(tmp_path / "fit", start_fabric("cpu"), recipe.seed)
    fitted = bench.fitted(bench.members(0)[0], seen, context)
    assert fitted.site_statistics is not None
    np.testing.assert_array_equal(fitted.predict(seen.images), in_study)
    assert list(fitted.restainings) == list(loaded.restainings)
    for name, table in loaded.restainings.items():
        assert (
            table
            == fitted.restainings[name]
            == normalizer_from_json((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8")).of_cells()
        )


@pytest.mark.slow
def test_a_fit_that_was_stopped_after_its_first_files_goes_on(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, out = written(source, tmp_path / "cells.csv"), tmp_path / "out"
    save = FittedEnsemble.save_normalizers

    def stop(self: FittedEnsemble, folder: Path) -> None:
        save(self, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(FittedEnsemble, "save_normalizers", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(finished[0], cells, out, root=source.root, fit=True)
    assert (out / "linear-ot.json").is_file()
    monkeypatch.undo()
    assert evaluate(finished[0], cells, out, root=source.root, fit=True).predicted == len(source)
    assert len(predicted(out)) == len(source)


def test_a_bad_file_of_another_hospital_is_told_and_stops_nothing(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    folder = tmp_path / "third"
    folder.mkdir()
    for number, path in enumerate(source.paths()):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    (folder / "bad.png").write_bytes(b"no image")
    done = evaluate(finished[0], folder, tmp_path / "out", fit=True)
    assert (done.predicted, list(done.failed), done.rows) == (len(source), ["bad.png"], ())
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="expected readable images"):
        evaluate(finished[0], folder, tmp_path / "out", fit=True)


@pytest.mark.parametrize("fit", [False, True])
def test_rows_that_must_not_be_trusted_have_no_class_and_a_reason(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fit: bool,
    drawn_field: Path,
) -> None:
    far = SiteAnswer(60, Distance(9.0, 1.0, 2.0), Distance(9.0, 1.0, 2.0))
    monkeypatch.setattr(evaluating, "write_answer", lambda *_: far)
    monkeypatch.setattr(evaluating, "open_model", lambda path: path)  # too few images for a profile
    folder = tmp_path / "night"
    folder.mkdir()
    for number, path in enumerate(source.paths()):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    shutil.copy(drawn_field, folder / "field.png")
    done = evaluate(finished[0], folder, tmp_path / "out", fit=fit)
    table = predicted(tmp_path / "out")
    assert (done.predicted, done.withheld, list(done.failed)) == (0, len(source), ["field.png"])
    assert set(table["predicted_class"]) == {""}
    assert table["probability"].null_count() == len(table)
    assert set(table["site"]) == {"out-of-distribution"}
    reasons = dict(table.select("path", "reason").iter_rows())
    assert "whole field" in reasons.pop("field.png")
    assert set(reasons.values()) == {WITHHELD}


def test_cells_that_the_guard_refuses_have_no_class_and_those_in_doubt_a_remark(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished[0], folder)
    model = sha256_of(folder / "restained" / "white-point" / "normalizer.json")
    (folder / "guard" / "white-point").mkdir(parents=True)
    Guard(model=model, thresholds=floors()).write(folder / "guard" / "white-point" / "guard.json")
    given = Verdicts(("pass", "warn", "refuse"), ((), ("darkness",), ("nucleus_dice", "shift")), np.zeros(3))
    monkeypatch.setattr(trust, "verdicts_of", lambda *_: given)
    cells = written(Manifest(source.table.head(3), source.root), tmp_path / "cells.csv")
    done = evaluate(folder, cells, tmp_path / "out", root=source.root, by="Learner on white-point")
    table = predicted(tmp_path / "out")
    assert (done.predicted, done.withheld) == (2, 1)
    assert table["guard"].to_list() == ["pass", "warn", "refuse"]
    assert [bool(name) for name in table["predicted_class"]] == [True, True, False]
    assert table["remark"].to_list() == ["", "the guard warns: darkness", ""]
    reason = "not predicted: the guard refuses the re-stained cell (nucleus_dice shift)"
    assert table["reason"].to_list() == ["", "", reason]
    evaluate(folder, cells, tmp_path / "out", root=source.root, by="ensemble")
    assert set(predicted(tmp_path / "out")["guard"].cast(pl.String)) == {""}  # no guard checked what it pools


@pytest.mark.parametrize(
    ("images", "source_distance", "target_distance", "site", "withheld"),
    [
        ("white-point", 0.5, 9.0, "in-distribution", ""),
        ("white-point", 1.5, 0.5, "borderline", ""),
        ("white-point", 9.0, 0.5, "out-of-distribution", "need no re-staining"),
        ("ensemble", 9.0, 1.5, "out-of-distribution", "out-of-distribution"),
        ("original", 9.0, 0.5, "in-distribution", ""),
        ("original", 9.0, 1.5, "borderline", ""),
        ("original", 9.0, 9.0, "out-of-distribution", "out-of-distribution"),
        ("original", 9.0, None, "out-of-distribution", "out-of-distribution"),
    ],
)
def test_what_predicts_says_for_which_site_it_is_meant(
    images: str, source_distance: float, target_distance: float | None, site: str, withheld: str
) -> None:
    of_target = None if target_distance is None else Distance(target_distance, 1.0, 2.0)
    answer = SiteAnswer(60, Distance(source_distance, 1.0, 2.0), of_target)
    found = Trust.of(answer, Answers("Learner", images, None, 0, np.zeros((1, 2), np.float32)), None)
    assert found.site == site
    assert withheld in found.reason(0)
    assert bool(withheld) == bool(found.reason(0))


def test_tables_of_evaluate_and_run_share_their_words() -> None:
    assert set(COLUMNS) - {"class", "by"} == set(RUN_COLUMNS) - {"uncertainty"}
