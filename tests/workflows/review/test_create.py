import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from hemabridge.data.manifest import make_manifest, read_manifest, with_hashes, write_manifest
from hemabridge.errors import InputError, ManifestError, RecipeError, RunError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.recipes.review import ReviewPlan, read_plan
from hemabridge.review.key import KEY, read_key
from hemabridge.review.store import STORE, Store
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.review.create import LINKS, PICTURES, PLAN, review_create
from hemabridge.workflows.review.read_arms import arms_of

TASK = {"questions": ["stain"], "cells": 2}


def plan(**changes: Any) -> ReviewPlan:
    return ReviewPlan.model_validate({"kind": "review", "name": "r", "readers": ["Ana"], "tasks": [TASK]} | changes)


@pytest.fixture
def folders(hospitals: Path, tmp_path: Path) -> Callable[..., ReviewPlan]:
    """A function that returns a plan of two arms, photographs and their re-stained files, with changes."""

    def make(**changes: Any) -> ReviewPlan:
        arms = [
            {"name": "restained", "folder": hospitals / "truth", "of": "photographs"},
            {"name": "photographs", "folder": hospitals / "yellow-field"},
        ]
        return plan(**{"arms": arms} | changes)

    return make


def test_a_review_is_written_as_a_whole_for_its_owner_alone(folders: Callable, tmp_path: Path) -> None:
    more = [TASK | {"cells": 6}]
    out = tmp_path / "new" / "review"
    made = review_create(folders(readers=["Ana", "Ben"], tasks=more, apart=2), out)
    assert sorted(path.name for path in out.iterdir()) == sorted([STORE, KEY, LINKS, PLAN, PICTURES])
    assert [path.name for path in out.parent.iterdir()] == ["review"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE((out / name).stat().st_mode) for name in (KEY, LINKS, PLAN)} == {0o600}
    assert (made.screens, made.repeats, made.practice, made.pictures, made.apart) == (12, 0, 0, 12, 2)
    lines = (out / LINKS).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{name}\t{link}" for name, link in made.links.items()]
    tokens = [link.rstrip("/").rpartition("/")[2] for link in made.links.values()]
    assert [len(token) for token in tokens] == [32, 32]  # 192 random bits each
    assert len(set(tokens)) == 2
    with Store.open(out / STORE) as store:
        assert store.readers() == ["Ana", "Ben"]
        asked = {item for (item,) in store.rows("SELECT id FROM item")}
        pictures = {f"{name}.png" for (name,) in store.rows("SELECT id FROM picture")}
        orders = store.rows("SELECT group_concat(screen) FROM (SELECT * FROM turn ORDER BY place) GROUP BY reader")
    assert asked == {item.item for item in read_key(out / KEY)}
    assert pictures == {path.name for path in (out / PICTURES).iterdir()}
    assert orders[0] != orders[1]
    assert read_plan(out / PLAN) == folders(readers=["Ana", "Ben"], tasks=more, apart=2)


def test_the_order_of_rows_in_the_store_tells_no_arm(folders: Callable, tmp_path: Path) -> None:
    review_create(folders(apart=2), tmp_path / "review")
    with Store.open(tmp_path / "review" / STORE) as store:
        screens = [screen for (screen,) in store.rows("SELECT id FROM screen ORDER BY rowid")]
        shown = {
            table: list(dict.fromkeys(screen for (screen,) in store.rows(f"SELECT screen FROM {table} ORDER BY rowid")))
            for table in ("item", "picture")
        }
    assert len(screens) > 3
    assert screens == sorted(screens)  # ids are random; as they were drawn, arms would come in turn
    assert shown == {"item": screens, "picture": screens}


def test_the_key_names_cells_by_their_photograph(folders: Callable, hospitals: Path, tmp_path: Path) -> None:
    review_create(folders(apart=2), tmp_path / "review")
    items = read_key(tmp_path / "review" / KEY)
    hashes = {sha256_of(path): path.parent.name for path in (hospitals / "yellow-field").rglob("*.png")}
    assert {item.arms for item in items} == {("photographs",), ("restained",)}
    assert {item.cell: item.cell_type for item in items}.items() <= hashes.items()
    assert {item.site for item in items} == {"yellow-field"}


def test_the_same_plan_draws_the_same_sample_with_other_ids(folders: Callable, tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        review_create(folders(apart=2), tmp_path / name)
        items = read_key(tmp_path / name / KEY)
        with Store.open(tmp_path / name / STORE) as store:
            place = {screen: number for screen, number in store.rows("SELECT screen, place FROM turn")}
        drawn.append(sorted((place[item.shown], item.arms, item.cell) for item in items))
        drawn.append([item.item for item in items])
    assert drawn[0] == drawn[2]
    assert set(drawn[1]).isdisjoint(drawn[3])


def test_a_folder_that_is_there_is_left_alone(folders: Callable, tmp_path: Path) -> None:
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / STORE).write_text("verdicts")
    with pytest.raises(RunError, match="expected no folder at"):
        review_create(folders(), tmp_path / "review")
    assert (tmp_path / "review" / STORE).read_text() == "verdicts"


def test_of_two_at_once_one_is_refused_and_leaves_nothing(
    folders: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = os.rename

    def rename(old: Path, new: Path) -> None:
        new.mkdir()
        (new / "theirs.txt").write_text("x")
        renamed(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(RunError, match="expected no folder at"):
        review_create(folders(), tmp_path / "r")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["theirs.txt"]


def test_what_fails_leaves_nothing_behind(folders: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hemabridge.workflows.review.create.write_key", fails)
    with pytest.raises(OSError, match="No space left"):
        review_create(folders(apart=2), tmp_path / "out" / "review")
    assert list((tmp_path / "out").iterdir()) == []


def test_cell_types_come_from_the_arms_or_from_the_plan(folders: Callable, tmp_path: Path) -> None:
    asked = [{"questions": ["cell_type"], "cells": 2}]

    def types(name: str, **changes: Any) -> list[str]:
        review_create(folders(tasks=asked, apart=2, **changes), tmp_path / name)
        with Store.open(tmp_path / name / STORE) as store:
            return sorted(json.loads(store.rows("SELECT cell_types FROM reader")[0][0]))

    assert types("arms") == ["lymphocyte", "neutrophil"]
    more = ["blast", "lymphocyte", "neutrophil"]
    assert types("plan", cell_types=more) == more
    with pytest.raises(RecipeError, match="got none of neutrophil"):
        types("few", cell_types=["blast", "lymphocyte"])


def test_a_restained_file_needs_its_photograph(folders: Callable, hospitals: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "restained" / "blast" / "9.png", np.zeros((32, 32, 3), np.uint8))
    arms = [
        {"name": "photographs", "folder": hospitals / "yellow-field"},
        {"name": "restained", "folder": tmp_path / "restained", "of": "photographs"},
    ]
    with pytest.raises(ManifestError, match=r"got none for blast/9\.png"):
        arms_of(folders(arms=arms))


STUDY = """
kind = "study"
name = "by-hand"
classifiers = [{{name = "a", train = {{}}}}]
[source]
site = "yellow-field"
manifest = "{hospitals}/yellow-field/manifest.csv"
[target]
site = "clinic-like"
manifest = "{hospitals}/clinic-like/manifest.csv"
"""


@pytest.fixture
def study(hospitals: Path, tmp_path: Path) -> Path:
    """The folder of a study as far as a review reads it: settled sites, and three re-stainings of the test cells."""
    folder = tmp_path / "study"
    for site in ("yellow-field", "clinic-like"):
        manifest = with_hashes(read_manifest(hospitals / site / "manifest.csv")).with_crop_px(24)
        rows = manifest.table.to_dict(as_series=False)
        rows["split"] = ["test" if number % 2 else "train" for number in range(len(manifest))]

        write_manifest(make_manifest(rows, manifest.root), folder / "split" / site / "manifest.csv")
    (folder / "recipe.toml").write_text(STUDY.format(hospitals=hospitals), encoding="utf-8")
    tested = read_manifest(folder / "split" / "yellow-field" / "manifest.csv", hospitals / "yellow-field")
    for shade, name in enumerate(("white-point", "epoch-0005", "epoch-0010")):
        for path, part in zip(tested.column("path"), tested.column("split"), strict=True):
            if part == "test":
                to = folder / "restained" / name / "to_target" / path
                write_image(to.with_suffix(".png"), np.full((24, 24, 3), 50 * shade, np.uint8))
        (folder / "restained" / name / "stage-done.json").write_text("{}")
    return folder


def test_a_study_gives_originals_target_cells_and_the_last_snapshot(study: Path, hospitals: Path) -> None:
    arms = arms_of(plan(study=study))
    assert {name: (len(arm.cells), arm.of) for name, arm in arms.items()} == {
        "original": (12, None),
        "target": (12, None),
        "epoch-0010": (12, "original"),
    }
    assert arms["original"].cells.keys() == arms["epoch-0010"].cells.keys()
    for cell, shown in arms["original"].cells.items():
        assert sha256_of(shown.picture.path) == cell
        assert shown.picture.crop_px == 24
        restained = arms["epoch-0010"].cells[cell].picture.path
        assert restained.relative_to(study).parts[-2:] == shown.picture.path.parts[-2:]
        assert int(read_image(restained).max()) == 100


def test_arms_of_a_study_can_be_named_and_folders_added(study: Path, hospitals: Path) -> None:
    more = [{"name": "truth", "folder": hospitals / "truth", "of": "original"}]
    with pytest.raises(ManifestError, match="expected a photograph in the arm 'original'"):
        arms_of(plan(study=study, arms=more))  # the study tests only half of these cells
    arms = arms_of(plan(study=study, study_arms=["white-point", "epoch-0005"]))
    assert list(arms) == ["original", "white-point", "epoch-0005"]
    with pytest.raises(RecipeError, match="got epoch-0020"):
        arms_of(plan(study=study, study_arms=["epoch-0020"]))


def test_a_review_of_a_study_brings_all_pictures_to_its_size(study: Path, tmp_path: Path) -> None:
    tasks = [{"questions": ["morphology"], "cells": 3}]
    made = review_create(plan(study=study, tasks=tasks), tmp_path / "review")
    assert (made.size_px, made.screens, made.pictures) == (24, 3, 6)


def test_a_folder_that_is_no_finished_study_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"got no recipe\.toml"):
        arms_of(plan(study=tmp_path))
    for path in (study / "restained").rglob("stage-done.json"):
        path.unlink()
    with pytest.raises(RunError, match="expected re-stained cells in"):
        arms_of(plan(study=study))
    (study / "recipe.toml").write_text('kind = "translator"', encoding="utf-8")
    with pytest.raises(RunError, match="expected the recipe of a study"):
        arms_of(plan(study=study))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reader": ["x"]}, r"unknown key reader; did you mean 'readers'\?"),
        ({"readers": ["Ana", "Ana"]}, "Ana more than once"),
        ({"readers": ["A\tB"]}, "readers.0"),
        ({"arms": []}, "expected a study, or arms"),
        ({"study_arms": ["original"]}, "only beside study"),
        ({"address": "javascript:alert(1)"}, "address"),
        ({"address": "http://x/ y"}, "address"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"questions": ["stain", "morphology"], "cells": 1}]}, "alone: they show two pictures"),
        ({"cell_types": ["blast"]}, "at least two cell types"),
        ({"kind": "study"}, "expected kind = 'review'"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:

    data = {"kind": "review", "name": "r", "readers": ["Ana"], "tasks": [TASK], "arms": [{"name": "a", "folder": "."}]}
    path = tmp_path / "plan.toml"
    path.write_text(tomli_w.dumps(data | changes), encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        read_plan(path)


def test_arms_that_contradict_each_other_are_refused(folders: Callable, hospitals: Path) -> None:
    twice = [{"name": "a", "folder": hospitals / "truth"}] * 2
    with pytest.raises(ValueError, match="a more than once"):
        folders(arms=twice)
    with pytest.raises(ValueError, match="expected `of` to name an arm"):
        folders(arms=[{"name": "a", "folder": hospitals / "truth", "of": "b"}])
    chain = [
        {"name": "a", "folder": hospitals / "yellow-field"},
        {"name": "b", "folder": hospitals / "truth", "of": "a"},
        {"name": "c", "folder": hospitals / "truth", "of": "b"},
    ]
    with pytest.raises(InputError, match="arm of photographs"):
        arms_of(folders(arms=chain))
