"""The wheel, installed without extras, runs every command that applies a model, with the answers of PyTorch."""

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.files import read_image, write_image

pytestmark = pytest.mark.slow
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "without_extras.py"
NUMBERS = ("probability", "uncertainty")
CLASSES = ("lymphocyte", "neutrophil")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("without_extras", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def installed(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment without extras."""
    return Path(benchmark.make_environment(tmp_path_factory.mktemp("installed")))


@pytest.fixture(scope="module")
def command(installed: Path, benchmark: ModuleType) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run an installed command; no other package than those of the environment is in reach."""

    def run(*arguments: Path | str, program: str = "hemabridge") -> subprocess.CompletedProcess[str]:
        words = [str(installed / program), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=benchmark.clean_environment())
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hospitals of 44 cells each: enough for limits of the guard."""
    out = tmp_path_factory.mktemp("images")
    for site in ("clinic-like", "yellow-field"):
        cells, labels = simulate_cells(CLASSES, 22, HOSPITALS[site], 5, 40)
        for number, (cell, label) in enumerate(zip(cells, labels, strict=True)):
            write_image(out / site / CLASSES[label] / f"{number}.png", cell)
    return out


@pytest.fixture(scope="module")
def run_folder(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `hemabridge adapt` with guard, made with PyTorch."""
    from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
    from hemabridge.ensemble.config import EnsembleConfig, MembersConfig
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.adapt.adapt import adapt
    from hemabridge.workflows.adapt.config import AdaptConfig

    train = {"architecture": "test_resnet", "size_px": 32, "epochs": 2, "learning_rate": 1e-3}
    views = ("color", "shape")
    config = AdaptConfig(
        members=tuple(MembersConfig(count=1, train=ClassifierConfig(**train, view=view)) for view in views),
        ensemble=EnsembleConfig(restainings=("linear-ot",)),
        distillation=SemiSupervisedConfig(images=48, batch_size=8),
        cell_px=40,
    )
    out = tmp_path_factory.mktemp("run") / "run"
    fabric = start_fabric("cpu")
    adapt(images / "clinic-like", images / "yellow-field", out, config=config, fabric=fabric)
    return out


@pytest.fixture(scope="module")
def bundle(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hemabridge.workflows.export.export import export

    return export(run_folder, tmp_path_factory.mktemp("bundle") / "b.hemabridge").path


def test_no_package_of_an_extra_is_installed(command: Callable) -> None:
    names = ("torch", "torchvision", "timm", "lightning_fabric", "onnx", "sklearn", "fastapi")
    program = f"from importlib.util import find_spec; print([n for n in {names} if find_spec(n)])"
    assert command("-c", program, program="python").stdout == "[]\n"


def test_a_bundle_is_verified(command: Callable, bundle: Path) -> None:
    done = command("verify", bundle)
    assert done.returncode == 0, done.stderr
    assert "Test cells: 8, as expected" in done.stdout


def test_run_gives_the_answers_of_pytorch(
    command: Callable, bundle: Path, run_folder: Path, images: Path, tmp_path: Path
) -> None:
    done = command("run", bundle, images / "yellow-field", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    own, other = tmp_path / "out", run_folder / "results"
    first, second = (pl.read_csv(folder / "predictions.csv") for folder in (own, other))
    assert set(first["guard"]) <= {"pass", "warn", "refuse"}
    assert first.drop(NUMBERS).equals(second.drop(NUMBERS))
    np.testing.assert_allclose(first["probability"], second["probability"], atol=1e-3)
    for name in first["path"]:
        one, two = (read_image(folder / "restained" / name).astype(int) for folder in (own, other))
        assert np.abs(one - two).max() <= 1


def test_the_other_commands_take_a_bundle(
    command: Callable, bundle: Path, run_folder: Path, images: Path, tmp_path: Path
) -> None:
    folder = images / "yellow-field"
    done = command("standardize", bundle, folder, tmp_path / "restained")
    assert (done.returncode, "44 re-stained" in done.stdout, "Guard:" in done.stdout) == (0, True, True), done.stderr
    done = command("classify", bundle, folder, tmp_path / "classes")
    assert (done.returncode, "44 classified" in done.stdout) == (0, True), done.stderr
    site = json.loads((tmp_path / "restained" / "site.json").read_text(encoding="utf-8"))
    assert site == json.loads((run_folder / "results" / "restained" / "site.json").read_text(encoding="utf-8"))
    done = command("drift", bundle, folder, "--out", tmp_path / "drift")
    assert (done.returncode, "No drift over 1 folders" in done.stdout) == (0, True), done.stderr


def test_fields_are_searched_and_counted_as_with_pytorch(
    command: Callable, bundle: Path, run_folder: Path, drawn_field: Path, tmp_path: Path
) -> None:
    from hemabridge.workflows.differential.differential import differential

    done = command("find", drawn_field.parent, tmp_path / "cells")
    assert done.returncode == 0, done.stderr
    assert len(pl.read_csv(tmp_path / "cells" / "cells.csv")) == 1
    done = command("differential", bundle, drawn_field.parent, tmp_path / "count")
    assert done.returncode in (0, 1), done.stderr
    differential(run_folder, drawn_field.parent, tmp_path / "own")
    first, second = (pl.read_csv(tmp_path / name / "cells.csv") for name in ("count", "own"))
    columns = [name for name in first.columns if name.startswith("probability")]
    assert first.drop(columns).equals(second.drop(columns))
    np.testing.assert_allclose(first[columns].to_numpy(), second[columns].to_numpy(), atol=1e-3)


def test_a_guard_is_learned_without_pytorch(command: Callable, images: Path, tmp_path: Path) -> None:
    model, folder = tmp_path / "m.json", images / "yellow-field"
    assert command("fit", "linear-ot", folder, images / "clinic-like", model).returncode == 0
    done = command("guard", model, images / "clinic-like")
    assert done.returncode == 0, done.stderr
    done = command("standardize", model, folder, tmp_path / "out")
    assert (done.returncode, "Guard:" in done.stdout) == (0, True), done.stderr


def test_what_needs_an_extra_says_so(command: Callable, run_folder: Path, images: Path, tmp_path: Path) -> None:
    wanted = [
        command("adapt", images / "clinic-like", images / "yellow-field", "--out", tmp_path / "run"),
        command("run", run_folder, images / "yellow-field", tmp_path / "out"),
        command("export", run_folder, tmp_path / "b.hemabridge"),
        command("train", tmp_path / "r.toml"),
        command("demo"),
    ]
    told = [(done.returncode, done.stderr.strip().splitlines()[-1:]) for done in wanted]
    assert [each for each in told if each[0] != 2 or "pip install 'hemabridge[train]'" not in each[1][0]] == []


def test_a_normalizer_is_fitted_and_exported_without_pytorch(command: Callable, images: Path, tmp_path: Path) -> None:
    model, folder = tmp_path / "m.json", images / "yellow-field"
    assert command("fit", "linear-ot", folder, images / "clinic-like", model).returncode == 0
    assert command("export", model, tmp_path / "m", "--images", folder).returncode == 0
    assert command("verify", tmp_path / "m.hemabridge").returncode == 0
