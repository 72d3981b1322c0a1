"""Every command that the program or a document advises can be typed: it exists, and it is whole."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hemabridge.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = (path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "cli.md")  # that shows docstrings
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES)
PROGRAM: Any = typer.main.get_command(app)

USAGE_ERROR = typer.BadParameter.__base__ or typer.BadParameter
VALUE = "VALUE"
"""What stands for a value that a message gets when it is shown."""
QUOTED = re.compile(r"`hemabridge ([^`]+)`")
PLAIN = re.compile(r"(?<![`\w/])hemabridge ((?:review |log )?[a-z]+(?: (?:--?[a-z][\w-]*|[A-Z]+\b[\w./-]*))*)")
NAMED = re.compile(r"\b(of|as|for|what|the same|Begin with|see|that)\s*$")
"""What stands before a command that is named and not advised."""


def shown(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
        return "".join(map(str, parts))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def strings(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield each text of a module, and whether it is a docstring."""
    nodes = list(ast.walk(tree))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if id(node) not in parts and (text := shown(node)):
            yield text, id(node) in docs


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command in a text, without its first word, and what stands before it."""
    for pattern in (QUOTED, PLAIN):
        for found in pattern.finditer(text):
            yield " ".join(found[1].split()), text[: found.start()]


def resolved(words: list[str]) -> tuple[Any, str, list[str]]:
    """Return a command, its last word and its arguments."""
    name, *arguments = words
    found = PROGRAM.commands[name]
    while hasattr(found, "commands") and arguments:
        name, *arguments = arguments
        found = found.commands[name]
    return found, name, arguments


def advised() -> Iterator[tuple[str, str]]:
    """Yield the place of each command that a message or a document advises, and the command.

    A message advises a command that it does not only name, and the docstring of a command and a document one that has
    an argument. A document may call what a command does by its options, such as `hemabridge evaluate --fit`.
    """
    for path in SOURCES:
        name, is_help = path.relative_to(ROOT).as_posix(), path.parent.name == "cli"
        code = path.read_text(encoding="utf-8")
        for text, is_doc in strings(ast.parse(code)) if "hemabridge " in code else ():
            for command, before in commands(text) if is_help or not is_doc else ():
                if command.split()[0] in PROGRAM.commands:
                    arguments = resolved(command.split())[2]
                    if arguments or not (is_doc or before == "" or NAMED.search(before)):
                        yield name, command
    for path in DOCUMENTS:
        for found in QUOTED.finditer(path.read_text(encoding="utf-8")):
            command = " ".join(found[1].split())
            if command.split()[0] in PROGRAM.commands and not (resolved(command.split())[2] or ["-"])[0].startswith(
                "-"
            ):
                yield path.name, command


ADVISED = sorted(set(advised()))


def parsed(command: str) -> str:
    """Parse a command as the program does, and return its name."""
    found, name, arguments = resolved(shlex.split(command))
    return name if "--help" in arguments else str(found.make_context(name, arguments).info_name)


def test_commands_of_messages_and_documents_are_found() -> None:
    assert len(ADVISED) >= 50
    assert ("src/hemabridge/fields/whole_field.py", "find FIELDS OUT") in ADVISED
    assert ("src/hemabridge/models/open.py", f"select {VALUE}") in ADVISED
    assert ("src/hemabridge/cli/labeling.py", "run OUT/run FOLDER RESULTS") in ADVISED


@pytest.mark.parametrize(("place", "command"), ADVISED, ids=[f"{place}: {command}" for place, command in ADVISED])
def test_each_advised_command_is_whole(place: str, command: str) -> None:
    assert parsed(command) in command.split()


@pytest.mark.parametrize("command", ["select", "index --replace", "index FOLDER --replace", "fit --each-subdomain"])
def test_a_command_that_is_not_whole_is_noticed(command: str) -> None:
    with pytest.raises(USAGE_ERROR, match="Missing parameter"):
        parsed(command)
