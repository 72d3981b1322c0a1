import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluated_study import predicted, written

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.manifest import Manifest
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.errors import InputError
from hemabridge.evaluation.predictions import read_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import read_settled
from hemabridge.storage.stages import Stages
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.workflows.evaluate.answers import Answers, of_one_classifier
from hemabridge.workflows.evaluate.evaluate import FITTING, Evaluation, evaluate


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
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
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
