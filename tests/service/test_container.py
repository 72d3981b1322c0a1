"""The files for a container, linted: what they name is there, and nothing runs with more rights than it needs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hemabridge.cli.serving import serve

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICE = COMPOSE["services"]["hemabridge"]
KEYWORDS = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.is_file():
        pytest.skip("hadolint is not installed")
    found = subprocess.run([hadolint, "--no-color", FOLDER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_every_instruction_is_one_of_docker_and_copies_what_is_there() -> None:
    assert {word for word, _ in instructions()} == KEYWORDS
    copied = [shlex.split(rest)[:-1] for word, rest in instructions() if word == "COPY" and not rest.startswith("--")]
    assert len(copied) == 2
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []


def test_the_service_runs_as_a_user_without_rights_and_has_a_fixed_python() -> None:
    words = [word for word, _ in instructions()]
    assert words.index("USER") < words.index("ENTRYPOINT")
    (made,) = [rest for word, rest in instructions() if word == "RUN" and rest.startswith("useradd")]
    (user,) = [rest for word, rest in instructions() if word == "USER"]
    assert user.isdecimal()  # a name cannot be told from root by the host (hadolint DL3066)
    assert f"--uid {user} " in made
    assert all(re.match(r"python:3\.\d+-slim", rest) for word, rest in instructions() if word == "FROM")


def test_the_command_is_one_that_the_program_has() -> None:
    (entry,) = [yaml.safe_load(rest) for word, rest in instructions() if word == "ENTRYPOINT"]
    (more,) = [yaml.safe_load(rest) for word, rest in instructions() if word == "CMD"]
    options = [word for word in (*entry, *more) if word.startswith("--")]
    known = {f"--{name.replace('_', '-')}" for name in serve.__annotations__}
    assert entry[0].endswith("/hemabridge")
    assert entry[1] == serve.__name__
    assert options == ["--host", "--token-file"]
    assert set(options) <= known


def test_compose_gives_model_and_token_and_nothing_to_write_to() -> None:
    assert SERVICE["build"] == {"context": "..", "dockerfile": "docker/Dockerfile"}
    assert SERVICE["ports"] == ["127.0.0.1:8322:8322"]
    assert ("EXPOSE", "8322") in instructions()
    (model,) = SERVICE["volumes"]
    assert (model["target"], model["read_only"]) == ("/models/model.hemabridge", True)
    assert SERVICE["secrets"] == list(COMPOSE["secrets"]) == ["token"]
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["model.hemabridge", "token.txt"])
def test_what_must_stay_secret_is_not_tracked(name: str) -> None:
    assert f"docker/{name}" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
