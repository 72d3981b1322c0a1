from pathlib import Path

import pytest

from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.inputs import StudyInputs
from hemabridge.workflows.study.outlook import Outlook, in_words, planned_seconds


def test_what_is_left_follows_the_pace_of_stages_of_the_same_kind() -> None:
    said: list[str] = []
    outlook = Outlook(
        {"audit": 10, "classifiers/a": 100, "classifiers/b": 50, "translator": 200}, lambda *c: said.append(c[0])
    )
    assert outlook.left() == 360
    outlook("audit", 20.0)  # found done
    assert said == []
    outlook("classifiers/a", None)
    assert said == ["4 stages, 1 done; about 9 min left of the whole study"]
    outlook("classifiers/a", 400.0)
    # 2 % of 360 s count as measured. The translator at the pace of all that is done, 420 of 110 s; b at that of a.
    pace = (420 + 7.2) / (110 + 7.2)
    assert outlook.left() == pytest.approx(50 * (400 + 7.2 * pace) / (100 + 7.2) + 200 * pace)
    assert said[1:] == ["classifiers/a took 7 min; 2 of 4 stages done; about 15 min left of the whole study"]
    for name in ("classifiers/b", "translator"):
        outlook(name, None)
        outlook(name, 30.0)
    assert said[-1] == "translator took 30 s; 4 of 4 stages done"


def test_a_short_stage_hardly_changes_the_estimate_of_the_whole() -> None:
    outlook = Outlook({"audit": 0.6, "classifiers/a": 1000, "translator": 3000}, lambda *_: None)
    outlook("audit", 7.0)  # more than ten times as long as planned, with all that is loaded first
    assert 4000 < outlook.left() < 4400
    outlook("classifiers/a", 100.0)  # by another device
    assert 300 < outlook.left() < 1000


def test_no_estimate_rests_on_a_stage_of_unknown_seconds() -> None:
    said: list[str] = []
    outlook = Outlook({"a": 10, "b": 10, "c": 20}, lambda *c: said.append(c[0]), parts="steps", whole="all")
    outlook.pass_over("a")
    assert outlook.left() == 30
    outlook("b", None)
    outlook("b", 30.0)
    outlook.pass_over("b")  # known already
    outlook("c", None)
    outlook.pass_over("c")
    assert said == [
        "3 steps, 1 done; about 30 s left of all",
        "b took 30 s; 2 of 3 steps done; about 57 s left of all",
        "c, which an earlier call began, is done; 3 of 3 steps done",
    ]


def test_what_is_kept_is_said_when_it_is_stopped() -> None:
    outlook = Outlook({"audit": 1.0, "translator": 1.0}, lambda *_: None)
    outlook("audit", 3.0)
    outlook("translator", None)
    assert outlook.at_stop(Path("runs/x")) == (
        "stopped in the stage translator. runs/x keeps 1 finished stages and the last checkpoint of this one's "
        "training; the same command resumes from there"
    )


@pytest.mark.parametrize(("seconds", "told"), [(41.2, "41 s"), (700, "12 min"), (9000, "2.5 h")])
def test_durations_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert in_words(seconds) == told


def test_the_plan_holds_every_stage_of_a_study(small_study: Path, tmp_path: Path) -> None:
    recipe = expect_kind(read_recipe(small_study, ("more_seeds=[3]",)), StudyRecipe)
    plan = planned_seconds(StudyInputs(recipe, tmp_path / "out", start_fabric("cpu"), lambda *_: None))
    own = {
        "classifiers/small-net",
        "translator",
        *(f"restained/{name}" for name in ("white-point", "epoch-0001", "epoch-0002")),
        *(f"source-fine-tuning/small-net/{name}" for name in ("original", "epoch-0001", "epoch-0002")),
    }
    guard = {f"guard/{name}" for name in ("white-point", "epoch-0001", "epoch-0002")}
    assert set(plan) == {"audit", *own, *guard, *(f"seeds/3/{name}" for name in own)}
    assert min(plan.values()) > 0
