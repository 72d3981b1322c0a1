"""The program, its root options, and what happens on errors and signals; other modules add the commands."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer
from typer.core import TyperGroup

from hemabridge._version import __version__
from hemabridge.cli.exit_codes import IN_SHORT
from hemabridge.errors import HemabridgeError, TrainingFaultWarning

INTERRUPTED = 130

PANELS: Final = {
    "Begin": ("demo", "adapt", "run"),
    "Give it to a hospital": ("export", "verify", "watch", "log", "serve"),
    "Your images": ("find", "index", "audit", "split"),
    "Re-stain": ("catalog", "fit", "guard", "standardize", "drift"),
    "Compare and classify": ("study", "evaluate", "classify", "differential", "check"),
    "Train and choose": ("train", "select"),
    "New cells, and experts": ("synthesize", "review", "label"),
    "Simulated images": ("simulate", "sheet", "restyle"),
}
"""The commands in their order in `--help`, by the heading under which they are listed."""

ORDER: Final = {name: panel for panel, names in PANELS.items() for name in names}
"""The heading of each command, in that order."""


class _InOrder(TyperGroup):
    """Lists the commands as `PANELS` does."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        places = list(ORDER)
        for name in self.commands:
            self.commands[name].rich_help_panel = ORDER[name]  # type: ignore[attr-defined]
        return sorted(self.commands, key=places.index)


app = typer.Typer(
    name="hemabridge",
    cls=_InOrder,
    help="Re-stain blood-cell images of any hospital into the colors of yours, and measure what that does.\n\n"
    "Begin with `hemabridge demo`. With images of your own: `adapt`, then `run` every day; `export` makes one file of "
    "it for another computer. To measure with labels: `index` each hospital's folder, `audit` what you have, then "
    "`study`. `COMMAND --help` explains a command. A long command that was stopped continues if run again.",
    epilog=IN_SHORT,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


EngineChoice: TypeAlias = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine", help="Where the work is done: in this process, or by Ray (extra `scale`) on many machines."
    ),
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="Cluster of Ray to join [default: all processors of this computer]."
    ),
]
"""The options of commands that can work on many machines."""

KeepIdentity: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--keep-identity",
        help="DICOM: copy patient, study and specimen of each source, so that a picture files beside it.",
    ),
]
"""The option of every command that writes re-stained DICOM files."""


def main() -> None:
    """Run the command line. A known error gives one message on standard error and an exit code, never a traceback."""
    # Waiting threads of OpenMP sleep instead of spinning: beside another busy program, spinning makes training ten
    # times slower. OpenMP reads this setting when PyTorch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with warnings.catch_warnings(), _sigterm_interrupts():
            warnings.simplefilter("always", TrainingFaultWarning)
            warnings.showwarning = _shown(warnings.showwarning)
            app(prog_name="hemabridge")  # the same name for Python, pytest and the installed script
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer ends this way after Ctrl-C, without a message
            from hemabridge.storage.run_folder import stopped_in

            where = f"to continue in {kept}, " if (kept := stopped_in(end)) else ""
            print(f"hemabridge: stopped; {where}run the same command again", file=sys.stderr)
        raise
    except HemabridgeError as error:
        print(f"hemabridge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        print(f"hemabridge: expected to read and write files, got an error of the system: {error}", file=sys.stderr)
        sys.exit(2)


def _shown(usual: Callable[..., None]) -> Callable[..., None]:
    """Print a warning about a training as one line, and every other warning as Python does."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TrainingFaultWarning):
            print(f"hemabridge: warning: {message}", file=sys.stderr)
        else:
            usual(message, category, *place, **more)

    return show


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Stop on SIGTERM as on Ctrl-C: incomplete files are removed, and the exit code is `INTERRUPTED`."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set a handler, and only it gets signals
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
