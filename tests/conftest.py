"""Fixtures that every test may use."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # nets in tests are too small to share between cores; before torch
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # tests start many interpreters: what one compiled, the next reads

import pytest
from _pytest.doctest import DoctestModule
from hypothesis import settings
from model_reads import ModelReads

if TYPE_CHECKING:
    from hemabridge.imaging.standardizer import UInt8Image

sys.dont_write_bytecode = False
settings.register_profile("hemabridge", deadline=None)  # a busy machine makes no test fail
settings.load_profile("hemabridge")


SOURCES = Path(__file__).resolve().parents[1] / "src"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, and none of what was made then: it lives to the end.

    That is a fifth of the time of the collection, and some percent of that of the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


class Doctests:
    """Looks for doctests only in modules of `src` that have one: to search all files takes seconds of each worker."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        found = yield
        if file_path.is_relative_to(SOURCES) and ">>>" in file_path.read_text(encoding="utf-8"):
            return found
        return [each for each in found if not isinstance(each, DoctestModule)]


SHARING = (
    (
        "tests/workflows/test_adapt",
        "tests/workflows/test_changed_bundles.py",
        "tests/workflows/test_export.py",
        "tests/workflows/test_model_reads.py",
        "tests/workflows/test_serve",
        "tests/workflows/watch/",
        "tests/workflows/differential/test_sent_fields.py",
        "tests/workflows/label/",
    ),
    (
        "tests/workflows/study/test_study.py",
        "tests/workflows/study/test_called_again.py",
        "tests/workflows/study/test_leaderboard.py",
    ),
    ("tests/workflows/evaluate/",),
    (
        "tests/test_honesty.py",
        "tests/test_surface.py",
        "tests/models/test_only_way.py",
        "tests/models/test_study_folder.py",
    ),
    ("tests/data/test_audit.py", "tests/data/test_duplicates.py", "tests/data/test_other_views.py"),
)
"""Files that share a costly fixture of the session, or what is kept of images: one process runs them."""
LONGEST = (
    "tests/docs/test_paper.py",
    "tests/workflows/test_engines.py",
    "tests/review/page/test_two_readers.py",
    "tests/deployment/test_installed.py",
    "tests/workflows/",
    "tests/translators/",
    "tests/data/test_audit.py",
    "tests/training/",
)
"""Files that begin first, so that no process ends long after the other one."""


def _place(item: pytest.Item) -> int:
    return next((place for place, begin in enumerate(LONGEST) if item.nodeid.startswith(begin)), len(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=_place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Give processes whole files, in their order here, and one process those of `SHARING`."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((files[0] for files in SHARING if file.startswith(files)), file)

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Register what is asked about files of other folders too, which no conftest is."""
    config.pluginmanager.register(Doctests())


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """What is written is on the disk at once only where a test asks for that: thousands of files are written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session")
def reads() -> ModelReads:
    """Counts what commands read of models; see `ModelReads`."""
    return ModelReads()


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """All that is logged, with tracebacks."""
    told = StringIO()
    handler, root = logging.StreamHandler(told), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield told
    root.setLevel(level)
    root.removeHandler(handler)


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
    from hemabridge.workflows.simulate.simulate import simulate

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
def drawn_field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a field of 640 x 480 pixels, 0.1 um each: 12 red cells and a leukocyte near a corner."""
    import numpy as np
    from PIL import Image
    from skimage.draw import disk

    image = np.full((480, 640, 3), (230, 225, 220), np.uint8)
    for place in range(12):
        image[disk((60 + 120 * (place % 4), 170 + 190 * (place // 4)), 37)] = (190, 140, 140)
    image[disk((100, 70), 62)] = (205, 190, 215)
    image[disk((100, 70), 42)] = (90, 40, 130)
    path = tmp_path_factory.mktemp("field") / "field.png"
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="session")
def write_dicom() -> "Callable[..., Path]":
    """Writes RGB uint8[H, W, 3] as a VL Microscopic Image of DICOM, with further attributes, and returns its path."""

    def write(path: Path, image: "UInt8Image", **attributes: Any) -> Path:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian

        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.2", f"1.2.3.{sum(path.name.encode())}"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.3.1.1", "1.2.3.1.2", "GM"
        data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = *image.shape[:2], 3, 0
        data.PhotometricInterpretation, data.PixelRepresentation = "RGB", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.PixelData = image.tobytes() + bytes(image.size % 2)
        for keyword, value in attributes.items():
            setattr(data, keyword, value)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def small_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snapshot of a small translator with random weights, as a training at 32 px of cells of 64 px would write it.

    It lies in `RUN/translator/snapshots`, as that of a study does.
    """
    import torch

    from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
    from hemabridge.training.snapshots import write_snapshot
    from hemabridge.translators.config import TranslatorConfig
    from hemabridge.translators.cyclegan import CycleGan
    from hemabridge.translators.objective_config import CycleGanConfig

    model = CycleGanConfig(
        generator=ResnetGeneratorConfig(channels=4, blocks=1),
        discriminator=PatchDiscriminatorConfig(channels=4, layers=1),
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


SMALL_STUDY = """
kind = "study"
name = "small"
classes = ["neutrophil", "lymphocyte"]
tested_epochs = [1, 2]
normalizers = ["white-point"]
target_parts = {{ train = 0.6, test = 0.4 }}
source_parts = {{ train = 0.5, test = 0.5 }}

[target]
site = "clinic-like"
manifest = "{hospitals}/clinic-like/manifest.csv"

[source]
site = "yellow-field"
manifest = "{hospitals}/yellow-field/manifest.csv"

[truth]
site = "truth"
manifest = "{hospitals}/truth/manifest.csv"

[translator]
load_px = 36
crop_px = 32
epoch_images = 5
constant_epochs = 1
decay_epochs = 1
snapshot_every_epochs = 1
model = {{ generator = {{ channels = 4, blocks = 1 }}, discriminator = {{ channels = 4, layers = 1 }} }}

[[classifiers]]
name = "Small net"
train = {{ architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3, batch_size = 8 }}

[[classifiers]]
name = "Given (external)"

[classifiers.external]
file = "given.safetensors"
architecture = "test_resnet"
classes = ["lymphocyte", "blast", "neutrophil"]
preprocessing = {{ size_px = 32 }}

[source_fine_tuning]
epochs = 1
"""


@pytest.fixture(scope="session")
def small_study(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a study of some seconds: one classifier that it trains, and one that comes as a file beside it."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("recipe")
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), folder / "given.safetensors")
    (folder / "small.toml").write_text(SMALL_STUDY.format(hospitals=hospitals), encoding="utf-8")
    return folder / "small.toml"


@pytest.fixture(scope="session")
def brightest_bytes() -> bytes:
    """The file of `brightest`."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["scores"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 96, 96])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture
def brightest(brightest_bytes: bytes, tmp_path: Path) -> Path:
    """An ONNX classifier whose logits are the means of the channels: it predicts the brightest one."""
    path = tmp_path / "brightest.onnx"
    path.write_bytes(brightest_bytes)
    return path
