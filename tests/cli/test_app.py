import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from hemabridge import __version__, workflows
from hemabridge.cli import main
from hemabridge.cli.app import ORDER, PANELS, app
from hemabridge.errors import (
    HemabridgeError,
    ImageError,
    InputError,
    Interrupted,
    ManifestError,
    MissingExtraError,
    ModelError,
    NonFiniteLossError,
    RecipeError,
    RunError,
    SplitError,
    TrainingError,
)
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.storage.run_folder import hold_folder
from hemabridge.workflows.catalog import catalog
from hemabridge.workflows.fit import Fitted

COMMANDS = list(ORDER)
REVIEW = ["create", "serve", "unblind"]
PROGRAM = "from hemabridge.cli import main; main()"
"""What the installed script does."""


def in_a_process(*arguments: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, env=os.environ
    )


def plain(text: str) -> str:
    """Return text without colors, frames and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def test_the_commands_are_those_that_are_documented() -> None:
    assert sorted(typer.main.get_command(app).commands) == sorted(COMMANDS)  # type: ignore[attr-defined]


def test_each_module_of_the_workflows_is_of_a_command() -> None:
    rooms = [path for path in Path(workflows.__file__).parent.iterdir() if not path.name.startswith("__")]
    with_another = {"run": "adapt", "check": "differential", "log": "watch", "sheet": "simulate"}
    verbs = {"select": "selection", "synthesize": "synthesis"}
    names = {with_another.get(name, verbs.get(name, name)) for name in COMMANDS}
    assert sorted(path.stem for path in rooms) == sorted(names)


def test_the_root_help_names_every_command_and_says_where_to_begin(run: Callable) -> None:
    ended = run("--help")
    assert ended.code == 0
    assert [name for name in COMMANDS if f" {name} " not in plain(ended.out)] == []
    assert "Begin with hemabridge demo" in plain(ended.out)


def test_the_root_help_lists_the_commands_in_panels_in_the_order_of_their_use(run: Callable) -> None:
    lines = run("--help").out.splitlines()
    shown = [line.strip("│ ").split()[0] for line in lines if re.match(r"│ [a-z]", line)]
    panels = [" ".join(re.findall(r"[A-Za-z,-]+", line)) for line in lines if line.startswith("╭")]
    assert shown == COMMANDS
    assert panels == ["Options", *PANELS]


def test_without_a_command_the_help_is_shown(run: Callable) -> None:
    assert "Usage: hemabridge" in plain(run().out)


def test_the_commands_of_a_review_are_those_that_are_documented() -> None:
    group = typer.main.get_command(app).commands["review"]  # type: ignore[attr-defined]
    assert sorted(group.commands) == sorted(REVIEW)


@pytest.mark.parametrize("name", [*COMMANDS, *(f"review {name}" for name in REVIEW)])
def test_every_command_and_each_of_its_parameters_has_help(run: Callable, name: str) -> None:
    ended = run(*name.split(), "--help")
    assert ended.code == 0
    command = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]  # type: ignore[attr-defined]
    assert plain(command.help.split("\n")[0])[:60] in plain(ended.out)
    assert [p.name for p in command.params if not p.help] == []
    assert [p.opts[-1] for p in command.params if p.opts[-1].startswith("--") and p.opts[-1] not in ended.out] == []


def test_the_version_is_told(run: Callable) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["index"], ["simulate", "x", "--n-per-class", "0"], ["split", "m.csv", "--group", "x"]]
)
def test_wrong_usage_is_told_with_exit_code_2(run: Callable, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert "--help" in plain(ended.err)


HEAVY = ["torch", "timm", "lightning_fabric", "polars", "skimage", "scipy", "sklearn", "numpy", "matplotlib", "PIL"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["study", "--help"], ["index", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from hemabridge.cli import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)"
    )
    ended = in_a_process(*arguments, program=program)
    assert (ended.returncode, ended.stderr.strip()) == (0, "HEAVY []")


@pytest.mark.slow
def test_the_commands_on_images_work_without_pytorch(hospitals: Path, tmp_path: Path) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY[:3]})); {PROGRAM}"
    out = tmp_path / "m.csv"
    folder = str(hospitals / "truth")
    ended = in_a_process("index", folder, "--site", "x", "--out", str(out), program=blocked)
    counted = f"24 images in {out}, 0 unreadable files.\nClasses: lymphocyte 12, neutrophil 12.\n"
    assert (ended.returncode, ended.stdout) == (0, counted)
    assert in_a_process("audit", str(out), "--root", folder, program=blocked).returncode == 0
    assert in_a_process("split", str(out), "--root", folder, program=blocked).returncode == 0
    assert in_a_process("simulate", str(tmp_path / "s"), "--n-per-class", "1", program=blocked).returncode == 0
    few = ("--hospital", "pale", "--n-per-class", "1", "--size-px", "24")
    assert in_a_process("restyle", folder, str(tmp_path / "r"), *few, program=blocked).returncode == 0


def test_the_catalog_lists_every_method_with_its_use_without_pytorch() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY[:3]})); {PROGRAM}"
    ended = in_a_process("catalog", program=blocked)
    assert ended.returncode == 0, ended.stderr
    told = plain(ended.stdout)
    assert [m.name for m in catalog() if m.name not in told] == []
    assert " ".join(catalog()[0].use.split()[:4]) in told


@pytest.mark.slow
def test_a_normalizer_re_stains_and_is_guarded_without_pytorch(hospitals: Path, tmp_path: Path) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY[:3]})); {PROGRAM}"
    images, model, out = hospitals / "truth", tmp_path / "white-point.json", tmp_path / "o"
    for command in (("fit", "white-point", images, images, model), ("standardize", model, images, out)):
        ended = in_a_process(*map(str, command), program=blocked)
        assert ended.returncode == 0, ended.stderr
    assert len(list(out.rglob("*.png"))) == len(list(images.rglob("*.png"))) == 24
    ended = in_a_process("standardize", str(model), str(images), str(out), "--site", str(images), program=blocked)
    assert (ended.returncode, "expected a target-only model" in ended.stderr) == (2, True), ended.stderr
    ended = in_a_process("guard", str(model), str(images), program=blocked)
    assert (ended.returncode, "expected at least 40 cells of the target" in ended.stderr) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("more", "told"),
    [((), "fitted as one; --each-subdomain fits each separately."), (("--each-subdomain",), "each fitted separately.")],
)
def test_fit_tells_of_several_subdomains(
    run: Callable, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], told: str
) -> None:
    asked = []

    def fit(*_: object, each_subdomain: bool, **__: object) -> Fitted:
        asked.append(each_subdomain)
        return Fitted(WhitePoint(target_white=(255.0, 255.0, 255.0)), {"#ffffff": 40, "#fffc9b": 60}, False)

    monkeypatch.setattr("hemabridge.workflows.fit.fit", fit)
    ended = run("fit", "white-point", "new", "ours", "out.json", *more)
    assert ended.out.splitlines()[-1] == f"new has 2 subdomains (40 images on #ffffff, 60 images on #fffc9b): {told}"
    assert asked == [bool(more)]


@pytest.mark.parametrize("swapped", [True, False])
def test_fit_says_which_way_it_maps_and_warns_of_swapped_sites(
    run: Callable, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    done = Fitted(WhitePoint(target_white=(255.0, 255.0, 255.0)), {"#ffffff": 40}, swapped)
    monkeypatch.setattr("hemabridge.workflows.fit.fit", lambda *_, **__: done)
    ended = run("fit", "white-point", "new", "ours", "out.json")
    assert ended.code == 0
    assert "It gives images like those of new the colors of ours, and not the other way round." in ended.out
    assert ("new has classes and ours has none: are SOURCE and TARGET swapped?" in ended.err) == swapped


def test_a_command_that_needs_pytorch_says_how_to_get_it(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for arguments in (["demo"], ["train", "r.toml"], ["study", "r.toml"]):
        ended = run(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == "hemabridge: this command needs PyTorch: pip install 'hemabridge[train]'\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HemabridgeError, 1),
        (InputError, 2),
        (ImageError, 2),
        (ManifestError, 2),
        (SplitError, 2),
        (RecipeError, 2),
        (ModelError, 2),
        (RunError, 2),
        (TrainingError, 1),
        (NonFiniteLossError, 1),
        (Interrupted, 130),
        (MissingExtraError, 2),
    ],
)
def test_known_errors_are_one_message_and_an_exit_code(
    run: Callable, monkeypatch: pytest.MonkeyPatch, error: type[HemabridgeError], code: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error("expected this, got that")

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    assert run("audit", "m.csv") == (code, "", "hemabridge: expected this, got that\n")


def test_what_the_system_refuses_is_told_without_a_traceback(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "out.csv")

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    ended = run("audit", "m.csv")
    assert ended.code == 2
    assert ended.err.endswith("got an error of the system: [Errno 28] No space left on device: 'out.csv'\n")


def test_who_stops_a_command_is_told_how_to_go_on(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    assert run("audit", "m.csv") == (130, "", "hemabridge: stopped; run the same command again\n")


def test_who_stops_a_command_with_a_folder_is_told_which(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object, **__: object) -> None:
        with hold_folder(tmp_path / "out"), hold_folder(tmp_path / "out" / "stage"):
            raise KeyboardInterrupt

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    told = f"hemabridge: stopped; to continue in {tmp_path / 'out'}, run the same command again\n"
    assert run("audit", "m.csv") == (130, "", told)


def test_our_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    monkeypatch.setattr(sys, "argv", ["hemabridge", "audit", "m.csv"])
    with pytest.raises(AssertionError, match="ours"):
        main()


def test_a_reader_who_left_is_no_mistake(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("hemabridge.workflows.audit.audit_manifest", fails)
    assert run("audit", "m.csv") == (1, "", "")


@pytest.mark.slow
def test_the_installed_script_is_this_program(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("hemabridge")
    ended = subprocess.run([script, "split", "nowhere.csv"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("hemabridge: expected a manifest (CSV file) at nowhere.csv, got no such file")
    assert ended.stderr.count("\n") == 1


def test_waiting_threads_sleep_unless_the_user_says_otherwise() -> None:
    program = "import os, sys; from hemabridge.cli import main; sys.argv[1:] = ['--version']\n"
    program += "try: main()\nfinally: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    for own, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        environment |= {} if own is None else {"OMP_WAIT_POLICY": own}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.split()[-2:] == [expected, "False"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_any_command_with_130_and_a_word(tmp_path: Path, how: signal.Signals) -> None:
    os.mkfifo(tmp_path / "waits.csv")  # whoever opens it waits for a writer
    program = (  # a process in the background begins with SIGINT ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import hemabridge.cli.app as app\n"
        "@app.app.command()\n"
        f"def audit(path: str) -> None: print('reading', flush=True); open(path)\n{PROGRAM}"
    )
    command, pipe = [sys.executable, "-c", program, "audit", str(tmp_path / "waits.csv")], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n"
            process.send_signal(how)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()  # so that nothing is left over, whatever happened
    assert process.returncode == 130
    assert told.endswith("hemabridge: stopped; run the same command again\n")
    assert "Traceback" not in told
