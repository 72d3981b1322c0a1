import shutil
from pathlib import Path

import polars as pl
import pytest

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.ensemble.config import EnsembleConfig, MembersConfig
from hemabridge.errors import InputError, ManifestError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapt import AdaptConfig, adapt, members
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import run

RECOMMENDED = Path(__file__).resolve().parents[2] / "recipes" / "recommended.toml"


def small(epochs: int = 1) -> AdaptConfig:
    """Two networks of a second each."""
    train = {"architecture": "test_resnet", "size_px": 32, "epochs": epochs, "learning_rate": 1e-3}
    return AdaptConfig(
        members=tuple(
            MembersConfig(count=1, train=ClassifierConfig.model_validate({**train, "view": view}))
            for view in ("color", "shape")
        ),
        ensemble=EnsembleConfig(restainings=("linear-ot",)),
        distillation=SemiSupervisedConfig(images=48, batch_size=8),
        cell_px=32,
    )


@pytest.fixture(scope="module")
def flat(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of another hospital, without classes, one of them damaged."""
    folder = tmp_path_factory.mktemp("new") / "flat"
    for path in sorted((hospitals / "yellow-field").rglob("*.png")):
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{path.parent.name[0]}-{path.name}", read_image(path))
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def done(hospitals: Path, flat: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Adapted]:
    out = tmp_path_factory.mktemp("adapted") / "run"
    adapted, _ = adapt(hospitals / "clinic-like", flat, out, config=small(), fabric=start_fabric("cpu"))
    return out, adapted


def test_each_image_gets_a_class_or_a_reason_and_is_restained(done: tuple[Path, Adapted], flat: Path) -> None:
    out, adapted = done
    table = pl.read_csv(out / "results" / "predictions.csv")
    assert table.columns == ["path", "predicted_class", "probability", "site", "guard", "reason"]
    assert sorted(table["path"]) == sorted(path.name for path in flat.iterdir())
    bad = table.filter(pl.col("path") == "damaged.png").row(0, named=True)
    assert bad["predicted_class"] is None
    assert bad["reason"]
    good = table.filter(pl.col("path") != "damaged.png")
    known = good.filter(pl.col("site") != "out-of-distribution")
    assert set(known["predicted_class"]) <= set(adapted.classes)
    assert set(good["guard"]) == {None}  # 22 cells are too few for limits, and the user is told
    assert any(line.startswith("The morphology of re-stained images is not checked") for line in adapted.lines())
    for name in good["path"]:
        assert (out / "results" / "restained" / name).is_file()
    assert adapted.source_cells == len(good)
    assert adapted.home_scored > 0
    assert adapted.target == "clinic-like"  # its manifest says so
    assert sum(adapted.prevalence.values()) == pytest.approx(1)


def test_what_a_user_reads_doubts_random_weights(done: tuple[Path, Adapted]) -> None:
    assert any(line.startswith("CAUTION: training began from random weights") for line in done[1].lines())


def test_the_same_call_does_nothing_again_and_a_new_folder_is_run(
    done: tuple[Path, Adapted], hospitals: Path, flat: Path, tmp_path: Path
) -> None:
    out, adapted = done
    told: list[str] = []
    again, _ = adapt(
        hospitals / "clinic-like",
        flat,
        out,
        config=small(),
        fabric=start_fabric("cpu"),
        progress=lambda label, *_: told.append(label),
    )
    assert again == adapted
    assert not any("members" in label or "one classifier" in label for label in told)
    found = run(out, flat, tmp_path / "out")
    first, second = (
        pl.read_csv(folder / "predictions.csv").drop("guard") for folder in (out / "results", tmp_path / "out")
    )
    assert first.equals(second)
    assert found.restained.count("restained") == adapted.source_cells


def test_a_run_folder_can_be_moved(done: tuple[Path, Adapted], flat: Path, tmp_path: Path) -> None:
    moved = Path(done[0]).rename(tmp_path / "moved")
    try:
        run(moved, flat, tmp_path / "out")
        (moved / ADAPTED_FILE).rename(moved / "gone")
        with pytest.raises(InputError, match="expected a finished run folder of `hemabridge adapt`"):
            run(moved, flat, tmp_path / "other")
        (moved / "gone").rename(moved / ADAPTED_FILE)
    finally:
        moved.rename(done[0])


def test_swapped_folders_and_shared_images_are_refused(hospitals: Path, flat: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(flat, tmp_path / "whole", ignore=shutil.ignore_patterns("damaged*")))
    with pytest.raises(ManifestError, match=r"8 or more cells in .*, got without a class 24; give your own labeled"):
        adapt(whole, hospitals / "clinic-like", tmp_path / "a", config=small())
    with pytest.raises(ManifestError, match="that are in both"):
        adapt(hospitals / "clinic-like", hospitals / "clinic-like" / "neutrophil", tmp_path / "b", config=small())


def test_hospitals_of_one_name_and_labeled_images_of_the_new_one_are_refused(
    hospitals: Path, flat: Path, tmp_path: Path
) -> None:
    ours = hospitals / "clinic-like"
    with pytest.raises(InputError, match="expected hospitals whose names differ, got clinic-like, clinic-like"):
        adapt(ours, flat, tmp_path / "a", config=small(), also=(ours,))
    labeled = hospitals / "yellow-field"
    with pytest.raises(ManifestError, match="than among the labeled cells of yellow-field, got 12 that are in both"):
        adapt(ours, labeled / "neutrophil", tmp_path / "b", config=small(), also=(labeled,))


def test_members_are_trained_as_those_of_the_recommended_recipe() -> None:
    recipe = expect_kind(read_recipe(RECOMMENDED), StudyRecipe)
    assert recipe.ensemble is not None
    weights = recipe.ensemble.members[0].train.weights
    assert isinstance(weights, Path)
    assert [spec.train for spec in members(weights)] == [spec.train for spec in recipe.ensemble.members]


def test_random_weights_are_trained_longer() -> None:
    assert [spec.train.epochs for spec in members(None)] == [8, 8]
    assert [spec.train.epochs for spec in members("download")] == [2, 2]
