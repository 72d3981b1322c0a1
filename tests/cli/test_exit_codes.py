"""The exit codes that the reference states are those with which the program ends."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from hemabridge import cli, errors
from hemabridge.cli.app import INTERRUPTED, ORDER
from hemabridge.cli.exit_codes import EXIT_CODES, WITH_ONE
from hemabridge.cli.reference import reference

FILES = sorted(Path(str(cli.__file__)).parent.glob("*.py"))


def exits() -> Iterator[tuple[str, int]]:
    """Yield each `raise typer.Exit(CODE)` of a command, with the name of its function."""
    for path in FILES:
        for command in ast.parse(path.read_text(encoding="utf-8")).body:
            for node in ast.walk(command) if isinstance(command, ast.FunctionDef) else ():
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit":
                    (code,) = node.args
                    assert isinstance(code, ast.Constant)
                    yield command.name, int(code.value)


def test_the_table_names_every_command_that_ends_with_1() -> None:
    found = set(exits())
    assert {name for name, code in found if code == 1} == set(WITH_ONE)
    assert {(name, code) for name, code in found if code != 1} == {("audit", 3)}
    assert list(WITH_ONE) == [name for name in ORDER if name in WITH_ONE]


def test_every_error_has_a_code_of_the_table() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    assert len(kinds) > 10
    assert {kind.exit_code for kind in kinds} == {1, 2, INTERRUPTED}
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, INTERRUPTED]


def test_the_page_has_the_tables_and_help_names_the_page(run: Callable) -> None:
    assert all(f"| {code} | {meaning} |" in reference() for code, meaning in EXIT_CODES.items())
    assert all(f"| `{name}` | {when} |" in reference() for name, when in WITH_ONE.items())
    assert "docs/cli.md" in run("--help").out
