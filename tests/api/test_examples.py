"""The examples run as a user runs them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRINTED = {
    "normalizer_in_a_dataloader.py": "(8, 3, 96, 96), mean",
    "read_a_study.py": "made up: 3 rows of lymphocyte, neutrophil",
    "restain_a_folder.py": "restained: 24 images, mean color",
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"} == set(PRINTED)


FAST = "read_a_study.py"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != FAST)) for name in PRINTED])
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("# %%") >= 3
    run = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stderr == ""
    assert run.returncode == 0
    assert PRINTED[name] in run.stdout
