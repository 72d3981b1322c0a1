"""A small run of `hemabridge adapt`, which several commands use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.files import read_image, write_image

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from hemabridge.workflows.adapt.adapted import Adapted
    from hemabridge.workflows.adapt.config import AdaptConfig
    from hemabridge.workflows.export.export import Exported


@pytest.fixture(scope="session")
def adapt_config() -> "AdaptConfig":
    """Two networks of a second each."""
    pytest.importorskip("torch")
    from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
    from hemabridge.ensemble.config import EnsembleConfig, MembersConfig
    from hemabridge.workflows.adapt.config import AdaptConfig

    train = {"architecture": "test_resnet", "size_px": 32, "epochs": 1, "learning_rate": 1e-3}
    return AdaptConfig(
        members=tuple(
            MembersConfig(count=1, train=ClassifierConfig.model_validate({**train, "view": view}))
            for view in ("color", "shape")
        ),
        ensemble=EnsembleConfig(restainings=("linear-ot",)),
        distillation=SemiSupervisedConfig(images=48, batch_size=8),
        cell_px=32,
    )


@pytest.fixture(scope="session")
def unlabeled(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of another hospital, without classes, one of them damaged."""
    folder = tmp_path_factory.mktemp("new") / "flat"
    for path in sorted((hospitals / "yellow-field").rglob("*.png")):
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{path.parent.name[0]}-{path.name}", read_image(path))
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="session")
def adapt_progress() -> list[tuple[str, int, int]]:
    """The progress of `adapted_run`; empty before it."""
    return []


@pytest.fixture(scope="session")
def adapted_run(
    hospitals: Path,
    unlabeled: Path,
    adapt_config: "AdaptConfig",
    adapt_progress: list[tuple[str, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
    reads: Any,
) -> "tuple[Path, Adapted]":
    """A finished run of `hemabridge adapt`."""
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.adapt.adapt import adapt

    out = tmp_path_factory.mktemp("adapted") / "run"
    with reads("adapt"):
        adapted, _ = adapt(
            hospitals / "clinic-like",
            unlabeled,
            out,
            config=adapt_config,
            fabric=start_fabric("cpu"),
            progress=lambda *told: adapt_progress.append(told),
        )
    return out, adapted


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The key that signs `exported`."""
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="session")
def exported(
    adapted_run: "tuple[Path, Adapted]",
    signing_key: Ed25519PrivateKey,
    tmp_path_factory: pytest.TempPathFactory,
    reads: Any,
) -> "Exported":
    """What the export of that run returned."""
    from hemabridge.workflows.export.export import export

    with reads("export"):
        return export(adapted_run[0], tmp_path_factory.mktemp("bundle") / "from-yellow-field", key=signing_key)


@pytest.fixture(scope="session")
def bundle(exported: "Exported") -> Path:
    """The bundle of that run."""
    return exported.path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 cells of 48 px of each of two hospitals: the source and the target of `guarded_normalizer`."""
    out = tmp_path_factory.mktemp("photographs")
    for hospital in ("yellow-field", "clinic-like"):
        cells, _ = simulate_cells(("neutrophil", "lymphocyte"), 20, HOSPITALS[hospital], 3, 48)
        for number, image in enumerate(cells):
            write_image(out / hospital / f"{number:02d}.png", image)
    return out


@pytest.fixture(scope="session")
def guarded_normalizer(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normalizer between them, with limits for the guard."""
    from hemabridge.guard.thresholds import learn_normalizer_thresholds
    from hemabridge.models.guard_file import guard_path
    from hemabridge.normalizers.images import fit_normalizer
    from hemabridge.storage.files import sha256_of
    from hemabridge.workflows.guard import guard_of

    theirs, ours = (
        np.stack([read_image(path) for path in sorted((photographs / site).iterdir())])
        for site in ("yellow-field", "clinic-like")
    )
    path = tmp_path_factory.mktemp("normalizer") / "linear-ot.json"
    path.write_text(fit_normalizer("linear-ot", theirs, ours).to_json(), encoding="utf-8")
    guard_of(sha256_of(path), learn_normalizer_thresholds("linear-ot", ours), ours).write(guard_path(path))
    return path


@pytest.fixture(scope="session")
def guarded_bundle(guarded_normalizer: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    """Its bundle."""
    from hemabridge.workflows.export.export import export

    return export(guarded_normalizer, tmp_path_factory.mktemp("guarded") / "n", images=photographs / "yellow-field")


@pytest.fixture(scope="session")
def client_of() -> "Iterator[Callable[[Path], TestClient]]":
    """A function that serves a model to a client without a socket."""
    from fastapi.testclient import TestClient

    from hemabridge.service.access import Access
    from hemabridge.service.service_app import Limits, make_service_app
    from hemabridge.workflows.serve import served_of

    with ExitStack() as open_clients:

        def make(model: Path) -> TestClient:
            app = make_service_app(served_of(model), Limits(), Access())
            open_clients.callback(app.state.line.end)
            return open_clients.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a classifier that was trained on a simulated hospital."""
    pytest.importorskip("torch")
    from hemabridge.classifiers.config import ClassifierConfig
    from hemabridge.classifiers.fine_tune import fine_tune
    from hemabridge.data.cells import CellSet
    from hemabridge.data.simulate import HOSPITALS, simulate_cells
    from hemabridge.training.run_context import start_fabric

    images, labels = simulate_cells(("neutrophil", "lymphocyte"), 20, HOSPITALS["clinic-like"], 0, 48)
    names = tuple(f"{number:064x}" for number in range(len(images)))
    cells = CellSet(images, labels, ("neutrophil", "lymphocyte"), ids=names, hashes=names, crop_px=48)
    config = ClassifierConfig(architecture="test_resnet", size_px=32, epochs=1, learning_rate=1e-3, batch_size=8)
    folder = tmp_path_factory.mktemp("trained")
    fine_tune(config, cells, folder, start_fabric("cpu"), seed=0)
    return folder
