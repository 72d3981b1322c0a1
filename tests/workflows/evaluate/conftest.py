"""One finished study of an ensemble, and its evaluations, for all tests that only read them."""

from pathlib import Path

import polars as pl
import pytest
from evaluated_study import CHANGES, QUICK, CountReads, written

from hemabridge.data.manifest import Manifest, read_manifest
from hemabridge.evaluation.results import StudyResults
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.translators.presets import PRESETS, Preset
from hemabridge.workflows.evaluate.evaluate import Evaluation, evaluate
from hemabridge.workflows.study import translation
from hemabridge.workflows.study.study import study


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def source(finished: tuple[Path, StudyResults]) -> Manifest:
    """The source's test part, as the study split it."""
    recipe = expect_kind(read_recipe(finished[0] / "recipe.toml"), StudyRecipe).source
    assert recipe.manifest is not None
    return read_manifest(finished[0] / "split" / recipe.site / "manifest.csv", recipe.manifest.parent).select(
        pl.col("split") == "test"
    )


@pytest.fixture(scope="session")
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
