import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from made_results import synthesis_of

from hemabridge.workflows.synthesis import synthesize as workflow


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    source = Path(__file__).resolve().parents[2] / "recipes" / "synthesis-demo.toml"
    return Path(shutil.copy(source, tmp_path / "synthesis-demo.toml"))


def test_it_runs_the_recipe_and_tells_the_numbers(
    run: Callable, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def synthesize(wanted: object, out: Path, **_: object) -> object:
        calls.append((wanted, out))
        return synthesis_of()

    monkeypatch.setattr(workflow, "synthesize", synthesize)
    monkeypatch.setenv("COLUMNS", "200")
    ended = run("synthesize", recipe, "--out", tmp_path / "out", "--set", "seed=7", "--device", "cpu")
    assert ended.code == 0
    ((wanted, out),) = calls
    assert (wanted.name, wanted.seed, out) == ("synthesis-demo", 7, tmp_path / "out")
    assert "0.950 [0.76, 0.99]" in ended.out
    assert f"The report is {tmp_path / 'out' / 'report.html'}" in ended.out


def test_another_kind_of_recipe_is_refused(run: Callable, small_study: Path) -> None:
    ended = run("synthesize", small_study)
    assert ended.code == 2
    assert "kind = 'study'" in ended.err


def test_training_sends_to_the_right_command(run: Callable, recipe: Path) -> None:
    ended = run("train", recipe)
    assert ended.code == 2
    assert "hemabridge synthesize" in ended.err
