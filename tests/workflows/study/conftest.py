"""One finished study for all tests that only read it."""

from pathlib import Path
from typing import Any

import pytest
from run_study import Call, recipe_of

from hemabridge.evaluation.results import StudyResults
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.study import study


@pytest.fixture(scope="session")
def finished_study(
    small_study: Path, tmp_path_factory: pytest.TempPathFactory, reads: Any
) -> tuple[Path, StudyResults, list[Call]]:
    """The folder of the small study, its results, and what it told of its progress; work on a copy of the folder."""
    out = tmp_path_factory.mktemp("study") / "out"
    calls: list[Call] = []
    with reads("study"):
        results = study(
            recipe_of(small_study), out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call)
        )
    return out, results, calls
