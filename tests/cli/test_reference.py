from pathlib import Path

import pytest
import typer

from hemabridge.cli.app import app
from hemabridge.cli.reference import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
PROGRAM = typer.main.get_command(app)
ALONE = {name: c for name, c in PROGRAM.commands.items() if not hasattr(c, "commands")}  # type: ignore[attr-defined]
GROUPED = {
    f"{group} {name}": command
    for group, found in PROGRAM.commands.items()  # type: ignore[attr-defined]
    for name, command in getattr(found, "commands", {}).items()
}
COMMANDS = ALONE | GROUPED


def test_the_page_in_the_documentation_is_fresh() -> None:
    fresh = PAGE.read_text(encoding="utf-8") == reference()
    assert fresh, "docs/cli.md is stale: python -m hemabridge.cli.reference > docs/cli.md"


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = reference()
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERMINAL_WIDTH", "20")
    assert reference() == wide
    assert "\x1b" not in wide


def test_groups_of_commands_are_taken_apart() -> None:
    assert {"study", "review create", "review serve", "review unblind"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_with_all_that_can_be_typed(name: str) -> None:
    section = reference().partition(f"## {name}\n")[2].partition("\n## ")[0]
    command = COMMANDS[name]
    assert command.help.split("\n")[0] in section
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    wanted = [parameter for parameter in command.params if parameter.name != "help"]
    assert len(rows) == len(wanted)
    for row, parameter in zip(rows, wanted, strict=True):
        typed = row.split("`")[1].split()[0].partition("/")[0]  # `--page/--no-page` has two spellings
        assert typed in (*parameter.opts, parameter.metavar, parameter.name.upper())
        assert parameter.help in row


def test_limits_and_defaults_are_told() -> None:
    page = reference()
    assert "| `--size-px SIZE_PX` | Side of the pictures. [at least 16; at most 1024; default: 96] |" in page
    assert (
        "| `--group GROUP` | Images of one such group stay in one part. [one of auto, patient, slide, none; "
        "default: auto] |" in page
    )
    assert "| `--site SITE` | Name of the hospital. [required] |" in page
    assert "| `--replace` | Overwrite an existing manifest. |" in page
    assert "`hemabridge standardize MODEL IN OUT [OPTIONS]`" in page


@pytest.mark.parametrize("name", ["standardize", "guard"])
def test_commands_that_take_a_run_say_of_which_snapshot(name: str) -> None:
    section = reference().partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert "a run folder, of which the selected snapshot is taken, else the last one" in section
