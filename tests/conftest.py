"""Fixtures that every test may use."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # nets in tests are too small to share between cores; before torch

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real images and weights; skips where it does not exist, unless it is required."""
    if not (SHARED / "data").is_dir():
        message = "needs the real images in ../shared/data, which do not exist here"
        if os.environ.get("HEMABRIDGE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def shared_data(shared_dir: Path) -> Path:
    """`../shared/data`."""
    return shared_dir / "data"


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that `simulate` wrote: the same 24 cells of two classes in two hospitals, and their ground truth."""
    from hemabridge.workflows.simulate import simulate

    out = tmp_path_factory.mktemp("simulated") / "hospitals"
    simulate(
        out,
        n_per_class=12,
        hospitals=("clinic-like", "yellow-field"),
        classes=("neutrophil", "lymphocyte"),
        seed=4,
        size_px=32,
    )
    return out


@pytest.fixture(scope="session")
def small_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snapshot of a small translator with random weights, as a training at 32 px of cells of 64 px would write it.

    It lies in `RUN/translator/snapshots`, as that of a study does.
    """
    import torch

    from hemabridge.networks.patch_discriminator import PatchDiscriminatorConfig
    from hemabridge.networks.resnet_generator import ResnetGeneratorConfig
    from hemabridge.training.snapshots import write_snapshot
    from hemabridge.translators.config import TranslatorConfig
    from hemabridge.translators.cyclegan import CycleGan, CycleGanConfig

    model = CycleGanConfig(
        generator=ResnetGeneratorConfig(channels=4, blocks=1), judge=PatchDiscriminatorConfig(channels=4, layers=1)
    )
    config = TranslatorConfig(model=model, load_px=36, crop_px=32)
    torch.manual_seed(2)
    raw = {
        f"{name}/{key}": tensor
        for name, net in CycleGan(model).nets.items()
        for key, tensor in net.state_dict().items()
    }
    about = {"kind": "translator", "config": config.model_dump(mode="json"), "source_crop_px": 64, "seen": []}
    folder = tmp_path_factory.mktemp("run") / "translator" / "snapshots"
    return write_snapshot(folder, 8, 1.0, raw, None, about).path
