"""What `import hemabridge` offers, how fast, and that its page is fresh."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hemabridge as hb
from hemabridge.cli.api_reference import api_reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PUBLIC = [
    "Classification",
    "FoundCells",
    "HemabridgeError",
    "Manifest",
    "Model",
    "Normalizer",
    "StainNormalizer",
    "StudyResults",
    "__version__",
    "cut_cell",
    "find_cells",
    "fit_normalizer",
    "open_model",
    "read_image",
    "read_manifest",
    "read_study",
]

IMPORTED = """
import sys
before = set(sys.modules)
import hemabridge
print(*sorted(set(sys.modules) - before))
for name in hemabridge.__all__:
    getattr(hemabridge, name)
print(*sorted(sys.modules))
"""
MOST_MODULES = 80
"""`import hemabridge` takes 10 ms with 30 modules of the standard library; importing NumPy alone takes 150 more."""


def test_the_public_names_are_frozen() -> None:
    assert hb.__all__ == PUBLIC
    assert sorted(hb.__all__) == hb.__all__
    assert set(PUBLIC) <= set(dir(hb))


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.startswith("_")])
def test_each_name_is_the_thing_that_its_module_defines(name: str) -> None:
    thing = getattr(hb, name)
    assert thing.__name__ == name
    assert getattr(sys.modules[thing.__module__], name) is thing


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.startswith("_")])
def test_each_name_has_an_example_and_each_function_says_what_it_raises(name: str) -> None:
    thing = getattr(hb, name)
    assert "Example:\n        >>>" in thing.__doc__
    assert inspect.isclass(thing) or "Raises:\n" in thing.__doc__


@pytest.mark.parametrize("name", ["standardize", "classify"])
def test_what_a_model_does_has_an_example_of_its_own(name: str) -> None:
    assert "Example:\n            >>>" in getattr(hb.Model, name).__doc__


def test_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'open_modell'.*read_image"):
        hb.open_modell  # noqa: B018


@pytest.fixture(scope="module")
def imported() -> list[set[str]]:
    """Modules that `import hemabridge` adds, and all modules after each public name was used."""
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return [set(line.split()) for line in run.stdout.splitlines()]


def test_the_import_is_quick_as_it_loads_the_standard_library_alone(imported: list[set[str]]) -> None:
    packages = {name.partition(".")[0] for name in imported[0]}
    assert packages - sys.stdlib_module_names == {"hemabridge"}
    assert {name for name in imported[0] if name.startswith("hemabridge")} == {"hemabridge", "hemabridge._version"}
    assert len(imported[0]) <= MOST_MODULES


def test_no_public_name_imports_pytorch_or_what_only_some_commands_need(imported: list[set[str]]) -> None:
    assert {"numpy", "polars", "hemabridge.models.open", "hemabridge.normalizers.estimator"} <= imported[1]
    heavy = {"torch", "torchvision", "timm", "lightning_fabric", "sklearn", "matplotlib", "onnxruntime", "fastapi"}
    assert heavy & imported[1] == set()


def test_the_page_in_the_documentation_is_fresh() -> None:
    fresh = PAGE.read_text(encoding="utf-8") == api_reference()
    assert fresh, "docs/api.md is stale: python -m hemabridge.cli.api_reference > docs/api.md"


def test_the_page_holds_each_name_with_its_sections() -> None:
    page = api_reference()
    assert [name for name in PUBLIC if not name.startswith("_") and f"\n## {name}\n" not in page] == []
    section = page.partition("\n## fit_normalizer\n")[2].partition("\n## ")[0]
    assert "fit_normalizer(method, source, target, *, source_crop_px=None, target_crop_px=None)" in section
    assert "- `source_crop_px`: side of the central square" in section
    assert "```python\n>>> import hemabridge as hb\n" in section
    assert section.count("```") == 4
    assert "\n### Model.guard\n\nThe guard beside the file" in page
