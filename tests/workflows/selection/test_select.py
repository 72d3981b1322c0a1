import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hemabridge.data.manifest import Manifest, read_manifest, write_manifest
from hemabridge.errors import InputError, ManifestError, ModelError, RecipeError, RunError
from hemabridge.guard.thresholds import floors, read_thresholds
from hemabridge.imaging.files import read_image
from hemabridge.models import open_model
from hemabridge.models.open import find_snapshot, read_selection
from hemabridge.models.selection_file import PICTURE, Selection
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.trainings import TranslatorRecipe
from hemabridge.selection.rule import RuleConfig
from hemabridge.storage.files import sha256_of
from hemabridge.storage.run_folder import describe_run, hold_folder
from hemabridge.training.snapshots import write_snapshot
from hemabridge.translators.catalog import new_objective
from hemabridge.translators.presets import PRESETS
from hemabridge.workflows.selection.select import SnapshotLimits, read_run, select
from hemabridge.workflows.standardize.standardize import standardize
from hemabridge.workflows.study.study import study
from hemabridge.workflows.train import train

MakeRun = Callable[..., Path]
CountReads = Any


def run_folder(
    hospitals: Path, folder: Path, darker: tuple[float, ...] = (0.0, 0.5, 3.0), parts: tuple[str, ...] = ("",)
) -> Path:
    """Make the run folder of a color translator: at first the identity, then ever darker."""
    manifest = read_manifest(hospitals / "yellow-field" / "manifest.csv")
    column = pl.Series("split", [parts[row % len(parts)] for row in range(len(manifest))], dtype=pl.String)
    write_manifest(Manifest(manifest.table.with_columns(column), manifest.root), folder / "source.csv")
    config = PRESETS["pixel"].config.model_copy(update={"load_px": 32, "crop_px": 32, "stride": 1})
    recipe = TranslatorRecipe(
        kind="translator",
        name="small",
        source=SiteRecipe(site="yellow-field", manifest=folder / "source.csv", root=manifest.root),
        target=SiteRecipe(site="clinic-like", manifest=hospitals / "clinic-like" / "manifest.csv"),
        translator=config,
    )
    run = folder / "run"
    describe_run(run, recipe, "cpu")
    about = {
        "kind": "translator",
        "config": config.model_dump(mode="json"),
        "source_crop_px": 32,
        "target_crop_px": 32,
        "seen": manifest.column("sha256")[:6],
    }
    torch.manual_seed(0)
    nets = new_objective(config.model).nets
    for place, shift in enumerate(darker):
        raw = {f"{net}/{key}": t.clone() for net, own in nets.items() for key, t in own.state_dict().items()}
        last = [key for key in raw if key.startswith("to_target/") and key.endswith("bias")][-1]
        raw[last] -= shift
        write_snapshot(run / "snapshots", 100 * 4**place, float(place + 1), raw, None, about)
    return run


@pytest.fixture
def make_run(hospitals: Path, tmp_path: Path) -> MakeRun:
    """A function that makes a run folder in `tmp_path`."""
    return partial(run_folder, hospitals, tmp_path)


@pytest.fixture(scope="module")
def selected_once(
    hospitals: Path, tmp_path_factory: pytest.TempPathFactory, reads: CountReads
) -> tuple[Path, Selection]:
    """A run folder with three snapshots after a selection, and what this found."""
    run = run_folder(hospitals, tmp_path_factory.mktemp("selected"))
    with reads("select"):
        return run, select(run)


@pytest.fixture
def selected(selected_once: tuple[Path, Selection], tmp_path: Path) -> tuple[Path, Selection]:
    """The same, to be worked on."""
    return Path(shutil.copytree(selected_once[0], tmp_path / "selected")), selected_once[1]


def test_snapshots_are_measured_and_the_choice_is_written(selected_once: tuple[Path, Selection]) -> None:
    run, found = selected_once
    assert Selection.read(run / "selection.json") == found
    assert read_image(run / PICTURE).shape[0] > 300
    same, darker, black = found.snapshots
    assert [row.snapshot for row in found.snapshots] == ["epoch-0001", "epoch-0002", "epoch-0003"]
    assert (same.stain, same.kept) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.01))
    assert same.stain < darker.stain < black.stain
    assert found.chosen == "epoch-0001"
    assert same.sha256 == sha256_of(run / "snapshots" / "epoch-0001.safetensors")
    assert found.facts["part of the source"] == "all but test"
    assert found.facts["cells of the source"] == 24
    assert found.facts["of which the translator was trained on"] == 6
    assert found.facts["features"] == "color and texture"
    assert found.facts["limits of the guard from"] == 24
    assert (same.refused, black.fit) == (0, False)
    limits = run / "selection" / "epoch-0002" / "limits" / "limits.json"
    assert read_thresholds(limits).cells == 24


def test_each_snapshot_is_opened_and_hashed_once(selected_once: tuple[Path, Selection], reads: CountReads) -> None:
    reads.check_once("select", *(selected_once[0] / "snapshots").glob("*.safetensors"))


def test_the_scored_part_is_never_looked_at_and_a_validation_part_is_preferred(
    make_run: MakeRun, hospitals: Path
) -> None:
    parts = ("train", "validation", "validation", "test")
    run = make_run(parts=parts)
    found = read_run(run)
    names = read_manifest(run.parent / "source.csv", hospitals / "yellow-field").column("path")
    assert set(found.source.ids) == {name for row, name in enumerate(names) if parts[row % 4] == "validation"}
    assert found.part == "validation"
    run = make_run(parts=("train", "test"))
    assert set(read_run(run).source.ids) == set(names[::2])


def test_many_cells_are_sampled_always_the_same(make_run: MakeRun) -> None:
    run = make_run()
    some = read_run(run, cells=10)
    assert len(some.source) == len(some.target) == 10
    assert some.source.ids == read_run(run, cells=10).source.ids


def test_a_second_call_finds_the_same_without_restaining_again(selected: tuple[Path, Selection]) -> None:
    run, first = selected

    def written() -> dict[str, tuple[int, int]]:
        files = sorted((run / "selection").rglob("*.*"))
        return {path.relative_to(run).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = written()
    assert {f"selection/epoch-000{number}/restained.npy" for number in (1, 2, 3)} <= before.keys()
    assert select(run) == first
    assert written() == before


def test_limits_are_learned_on_target_cells_that_no_training_saw_where_that_are_enough(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = read_run(make_run())
    target, model = run.target, open_model(run.snapshots[0].path)
    assert SnapshotLimits(tmp_path / "a", target, set()).learned_from == 24
    few = SnapshotLimits(tmp_path / "b", target, set(target.hashes[:4]))
    assert few.learned_from == 20
    assert few.of(model).cells == 20
    assert SnapshotLimits(tmp_path / "c", target, set(target.hashes[:5])).learned_from == 24  # 19 are too few
    none = SnapshotLimits(tmp_path / "d", target.subset(np.arange(19)), set())
    assert (none.learned_from, none.of(model)) == (0, floors())


def test_readers_can_refuse_what_is_nearest(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(darker=(0.0, 0.05))
    (tmp_path / "readers.csv").write_text("snapshot,accepted\nepoch-0001,0.2\n")
    found = select(run, cells=12, readers=tmp_path / "readers.csv")
    assert (found.chosen, found.row("epoch-0001").readers) == ("epoch-0002", 0.2)
    assert "Readers refused epoch-0001" in found.reasons


def test_what_readers_said_is_checked_before_any_image_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    """The source's manifest is gone: a selection that reads images first says that instead."""
    run, said = make_run(), tmp_path / "readers.csv"
    (tmp_path / "source.csv").unlink()
    with pytest.raises(ManifestError, match=r"source\.csv"):
        select(run)
    for text, told in (("name,share\n", "expected the columns"), ("snapshot,accepted\nepoch-0009,1\n", "epoch-0003")):
        said.write_text(text)
        with pytest.raises(InputError, match=told):
            select(run, readers=said)


def test_standardize_takes_the_selected_snapshot(
    make_run: MakeRun, selected: tuple[Path, Selection], hospitals: Path, tmp_path: Path
) -> None:
    unselected, run = make_run(), selected[0]
    assert find_snapshot(unselected).stem == "epoch-0003"
    assert read_selection(unselected) is None
    assert find_snapshot(run).stem == "epoch-0001"
    assert find_snapshot(run, "epoch-0002").stem == "epoch-0002"
    done = standardize(run, hospitals / "yellow-field", tmp_path / "out")
    assert {row.model for row in done.rows if row.model} == {sha256_of(run / "snapshots" / "epoch-0001.safetensors")}


def test_where_none_can_be_used_standardize_refuses_to_guess(make_run: MakeRun) -> None:
    run = make_run(darker=(8.0, 9.0))
    found = select(run, cells=20, rule=RuleConfig(most_refused=0.0))
    assert found.chosen is None  # all black: the guard learned from cells that are black too
    with pytest.raises(ModelError, match="None can be used"):
        find_snapshot(run)
    assert find_snapshot(run, "epoch-0002").stem == "epoch-0002"


def test_a_selection_of_other_snapshots_is_refused(selected: tuple[Path, Selection]) -> None:
    run = selected[0]
    chosen = run / "snapshots" / "epoch-0001.safetensors"
    shutil.copy(run / "snapshots" / "epoch-0002.safetensors", chosen)
    with pytest.raises(ModelError, match=r"epoch-0001 that was selected, got another.*select .*` again"):
        open_model(run)
    chosen.unlink()
    with pytest.raises(ModelError, match="got none"):
        find_snapshot(run)
    (run / "selection.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"(?s)selection\.json.*select RUN` again"):
        find_snapshot(run)


def test_what_is_no_run_of_a_translator_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    for folder, told in ((tmp_path / "none", "got none"), (tmp_path, "got another folder")):
        with pytest.raises(InputError, match=f"expected the folder of a study.*{told}"):
            select(folder)
    assert not (tmp_path / "none").exists()
    run = make_run()
    with pytest.raises(InputError, match="leave --labels out"):
        select(run, labels=True)
    with pytest.raises(InputError, match="at least 10 cells"):
        select(run, cells=9)
    with hold_folder(run), pytest.raises(RunError, match="in use"):
        select(run)
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(
        'kind = "classifier"\nname = "c"\nsite = { site = "a", folder = "a" }\n[classifier]'
    )
    with pytest.raises(RecipeError, match="kind = 'classifier'"):
        select(run)
    (run / "recipe.toml").write_text(recipe)
    shutil.rmtree(run / "snapshots")
    with pytest.raises(ModelError, match="train first"):
        select(run)


@pytest.mark.slow
def test_a_trained_run_from_end_to_end(hospitals: Path, tmp_path: Path) -> None:
    """A color translator learns the simulated target's stain; the choice is nearer than the originals."""
    config = (
        PRESETS["film"]
        .config.model_copy(
            update={
                "load_px": 32,
                "crop_px": 32,
                "stride": 2,
                "batch_size": 16,
                "epoch_images": 320,
                "constant_epochs": 2,
            }
        )
        .model_copy(update={"decay_epochs": 2, "snapshot_every_epochs": 1})
    )
    recipe = TranslatorRecipe(
        kind="translator",
        name="film",
        source=SiteRecipe(site="yellow-field", manifest=hospitals / "yellow-field" / "manifest.csv"),
        target=SiteRecipe(site="clinic-like", manifest=hospitals / "clinic-like" / "manifest.csv"),
        translator=config,
    )
    train(recipe, tmp_path / "run")
    found = select(tmp_path / "run")
    assert len(found.snapshots) == 4
    assert found.chosen is not None
    row = found.row(found.chosen)
    assert row.stain < 0.6
    assert row.kept > 0.9
    assert row.refused == 0  # it moves nothing
    assert sum(r.won for r in found.snapshots) == pytest.approx(1)
    before = found.original.lab
    assert all(row.lab[name] < before[name] for name in ("nucleus", "background"))


@pytest.mark.slow
def test_a_study_is_selected_with_its_classifiers(small_study: Path, tmp_path: Path) -> None:
    recipe = read_recipe(
        small_study, ["source_fine_tuning=false", "normalizers=[]", "source_parts={train=0.4,validation=0.1,test=0.5}"]
    )
    study(recipe, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.part == "validation"
    assert set(run.classifiers) == {"Small net", "Given (external)"}
    assert run.shape_members == {}
    with pytest.raises(InputError, match="at least 10 cells"):
        select(tmp_path / "run")
    recipe = read_recipe(small_study, ["source_fine_tuning=false", "normalizers=[]"])
    study(recipe, tmp_path / "run")
    found = select(tmp_path / "run", rule=RuleConfig(most_refused=1.0, least_kept=-1.0, most_tinted=1.0), labels=True)
    assert found.facts["features"] == "the classifier Small net"
    assert found.facts["part of the source"] == "train"
    assert found.facts["of which the translator was trained on"] == found.facts["cells of the source"] == 12
    errors = {row.snapshot: row.error for row in found.snapshots}
    assert set(errors) == {"epoch-0001", "epoch-0002"}
    assert all(error is not None and 0 <= error <= 1 for error in errors.values())
    assert "misclassify" in found.reasons
    scored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert scored["rows"]
    images = np.load(tmp_path / "run" / "selection" / "epoch-0001" / "restained.npy", allow_pickle=False)
    assert images.shape == (12, 32, 32, 3)


@pytest.mark.slow
def test_shape_members_rank_the_snapshots_of_a_study(small_study: Path, tmp_path: Path, reads: CountReads) -> None:
    train = '{architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}'
    shape = train.replace("epochs", 'view = "shape", epochs')
    changes = [
        "source_fine_tuning=false",
        "normalizers=[]",
        f'classifiers=[{{name = "Color", train = {train}}}, {{name = "Shape", train = {shape}}}]',
        f'ensemble={{restainings = ["white-point"], members = [{{count = 2, train = {shape}}}]}}',
    ]
    study(read_recipe(small_study, changes), tmp_path / "run")
    with reads("read"):
        run = read_run(tmp_path / "run")
    reads.check_once("read", *(tmp_path / "run").glob("classifiers/*/snapshots/*.safetensors"))
    assert set(run.classifiers) == {"Color"}
    assert list(run.shape_members) == ["shape 1", "shape 2", "shape 3"]  # that of the tables and two members
    found = select(tmp_path / "run", rule=RuleConfig(most_refused=1.0, least_kept=-1.0, most_tinted=1.0))
    assert found.facts["shape members"] == list(run.shape_members)
