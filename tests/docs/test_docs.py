"""What the documents tell a reader to type must work, and nothing that can be typed may be missing from them."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hemabridge.cli.app import app
from hemabridge.imaging.files import IMAGE_SUFFIXES
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.review import KIND, read_plan
from hemabridge.translators.presets import PRESETS
from hemabridge.workflows.catalog import catalog

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAM = typer.main.get_command(app)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
            if found[1] == language:
                yield path.name, found[2]


def typed_lines() -> list[tuple[str, str]]:
    lines = [(name, line) for name, block in blocks("") for line in block.splitlines()]
    return [(name, line) for name, line in lines if line.startswith("hemabridge ")]


COMMANDS = typed_lines()
RECIPES = [(name, text) for name, text in blocks("toml") if text.startswith("kind = ")]


def read(path: Path) -> Any:
    """Read a recipe, or the plan of a review."""
    return (read_plan if f'kind = "{KIND}"' in path.read_text(encoding="utf-8") else read_recipe)(path)


def test_the_documents_hold_commands_and_recipes() -> None:
    assert len(COMMANDS) >= 10
    assert len(RECIPES) >= 4


@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=[line for _, line in COMMANDS])
def test_every_command_of_the_documents_can_be_parsed(document: str, line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    command = PROGRAM.commands[name]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    context = command.make_context(name, arguments)
    assert context.info_name == name


@pytest.mark.parametrize(("document", "text"), RECIPES, ids=[f"{name} {i}" for i, (name, _) in enumerate(RECIPES)])
def test_every_recipe_of_the_documents_is_accepted(document: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    assert text.startswith(f'kind = "{read(path).kind}"')


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_that_comes_along_is_accepted(path: Path) -> None:
    assert read(path).name == path.stem


@pytest.mark.parametrize("name", sorted(PROGRAM.commands))  # type: ignore[attr-defined]
def test_every_command_is_documented_and_explains_itself(name: str) -> None:
    command = PROGRAM.commands[name]  # type: ignore[attr-defined]
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert f"hemabridge {name}" in text
    assert command.help
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_the_methods_are_those_of_the_catalog_in_the_same_words() -> None:
    text = (ROOT / "docs" / "which-method.md").read_text(encoding="utf-8")
    assert {m.name for m in catalog() if m.kind == "translator"} == set(PRESETS)
    assert [m.name for m in catalog() if f"| `{m.name}` | {m.use} |" not in text] == []


def test_every_kind_of_image_file_is_listed() -> None:
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert [suffix for suffix in sorted(IMAGE_SUFFIXES) if f"`{suffix}`" not in text] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_no_document_says_a_section_twice(path: Path) -> None:
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    trail: list[str] = []
    sections = []
    for level, title in re.findall(r"^(#+) +(.+?) *$", text, re.MULTILINE):
        trail = [*trail[: len(level) - 1], title]
        sections.append(" / ".join(trail))
    assert sections
    assert [section for section, count in Counter(sections).items() if count > 1] == []


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a document get, as GitHub and the site make them."""
    titles = re.findall(r"(?m)^#+ +(.+?) *$", BLOCK.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(path: Path, file: str, anchor: str) -> bool:
    target = path.parent / file if file else path
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(path: Path) -> None:
    links = [(file, anchor) for file, anchor in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in file]
    assert [f"{file}#{anchor}" for file, anchor in links if broken(path, file, anchor)] == []


def test_a_broken_link_is_noticed() -> None:
    methods = ROOT / "docs" / "methods.md"
    assert not broken(methods, "", "morphology-guard")
    assert broken(methods, "", "no-such-heading")
    assert broken(methods, "no-such-page.md", "")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:src|docs|tests|benchmarks|recipes|examples)/[\w./-]+)[`:]", text))
    named |= set(re.findall(r"\bpython\s+(benchmarks/\w+\.py)", text))
    named |= set(re.findall(r"\bhemabridge\s+\w+\s+(recipes/[\w-]+\.toml)", text))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
