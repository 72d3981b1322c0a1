"""Ray on two machines (two raylets of this one): the same bytes and rows as one process, also after kills."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.engines import LOCAL, RETRIES, Engine, opened_engine
from hemabridge.errors import ImageError, InputError, RunError
from hemabridge.imaging.files import write_image
from hemabridge.models import open_model
from hemabridge.workflows.classify.classify import PREDICTIONS, classify
from hemabridge.workflows.fit import fit
from hemabridge.workflows.guard import learn_guard
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize, standardize_with

pytestmark = pytest.mark.filterwarnings("ignore")  # those of Ray

WriteDicom = Callable[..., Path]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one processor, and a second machine with one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray.cloudpickle
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not import tests
    own = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=own)
    made.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[Engine]:
    with opened_engine("ray", cluster.address) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_dicom: WriteDicom) -> Path:
    """100 cells in two folders, with DICOM files, a damaged file and a text."""
    out = tmp_path_factory.mktemp("cells") / "in"
    cells, _ = simulate_cells(["neutrophil", "lymphocyte"], 49, HOSPITALS["yellow-field"], 1, 64)
    for number, cell in enumerate(cells[:96]):
        write_image(out / f"{number % 2}" / f"{number:03d}.{'png' if number % 3 else 'jpg'}", cell)
    for number, cell in enumerate(cells[96:]):
        write_dicom(out / "dicom" / f"{number}.dcm", cell, PatientName="Some^Body")
    (out / "damaged.png").write_bytes(b"no image")
    (out / "notes.txt").write_text("no image", encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def model(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normalizer with a guard."""
    out = tmp_path_factory.mktemp("model") / "linear-ot.json"
    fit("linear-ot", hospitals / "yellow-field", hospitals / "clinic-like", out)
    ours, _ = simulate_cells(["neutrophil", "lymphocyte"], 24, HOSPITALS["clinic-like"], 2, 64)
    for number, cell in enumerate(ours):
        write_image(out.parent / "ours" / f"{number:02d}.png", cell)
    learn_guard(out, out.parent / "ours")
    return out


def contents(out: Path) -> dict[str, bytes]:
    """Return all files of a finished job, with the log; not what a killed process left half written."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files if not path.name.startswith(".")}


class Sleepy:
    """Takes a while for each number, and says from which process the result came."""

    def __call__(self, number: int) -> tuple[int, int]:
        time.sleep(0.05)
        return number * number, os.getpid()


class Fatal:
    """Ends its process at number 3: the first `times` times, which it counts in a file."""

    def __init__(self, counted: Path, times: int) -> None:
        self.counted, self.times = counted, times

    def __call__(self, number: int) -> int:
        before = self.counted.read_text(encoding="utf-8") if self.counted.exists() else ""
        if number == 3 and len(before) < self.times:
            self.counted.write_text(before + "x", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


class Refusing:
    """Raises one of our errors."""

    def __call__(self, number: int) -> int:
        raise ImageError(f"expected another number, got {number}")


def made(work: Any) -> Any:
    return work


def run_on(engine: Engine, work: Any, numbers: list[int], task_items: int = 1) -> list[Any]:
    return list(engine.in_order(work, partial(made, work), numbers, 1, task_items))


def test_one_process_does_it_in_order() -> None:
    found = run_on(LOCAL, Sleepy(), [3, 1, 2])
    assert found == [(9, os.getpid()), (1, os.getpid()), (4, os.getpid())]


def test_an_address_without_ray_is_refused() -> None:
    with pytest.raises(InputError, match="use --engine ray"), opened_engine("local", "127.0.0.1:6379"):
        pass


@pytest.mark.slow
def test_several_processes_do_it_in_order(engine: Engine) -> None:
    found = run_on(engine, Sleepy(), list(range(40, 0, -1)), 3)
    assert [square for square, _ in found] == [number * number for number in range(40, 0, -1)]
    assert len({process for _, process in found} - {os.getpid()}) >= 2


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_its_work_redone(engine: Engine, tmp_path: Path) -> None:
    assert run_on(engine, Fatal(tmp_path / "kills", 2), list(range(10)), 2) == [number * number for number in range(10)]
    assert (tmp_path / "kills").read_text(encoding="utf-8") == "xx"


@pytest.mark.slow
def test_work_that_always_ends_its_process_is_given_up_in_words(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"their process ended {RETRIES + 1} times"):
        run_on(engine, Fatal(tmp_path / "kills", 100), [3])
    assert len((tmp_path / "kills").read_text(encoding="utf-8")) == RETRIES + 1


@pytest.mark.slow
def test_an_error_of_ours_is_raised_as_in_one_process(engine: Engine) -> None:
    with pytest.raises(ImageError, match="expected another number, got 7"):
        run_on(engine, Refusing(), [7])


@pytest.mark.slow
def test_restained_files_and_the_log_are_those_of_one_process(
    engine: Engine, model: Path, folder: Path, tmp_path: Path
) -> None:
    standardize(model, folder, tmp_path / "one", keep_identity=True)
    done = standardize_with(open_model(model), folder, tmp_path / "many", keep_identity=True, engine=engine)
    assert (done.count("restained"), done.count("failed"), done.count("skipped")) == (98, 1, 1)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len(contents(tmp_path / "one")) >= 99


@pytest.mark.slow
def test_a_stopped_job_is_resumed_by_another_engine(engine: Engine, model: Path, folder: Path, tmp_path: Path) -> None:
    standardize(model, folder, tmp_path / "one")

    def stop(what: str, count: int, total: int) -> None:
        if what == "re-staining" and count == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        standardize_with(open_model(model), folder, tmp_path / "many", engine=engine, progress=stop)
    first = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "many").rglob("*.png"))[:5]}
    standardize(model, folder, tmp_path / "many")
    assert {path: path.stat().st_mtime_ns for path in first} == first
    files = {name: content for name, content in contents(tmp_path / "many").items() if name != LOG}
    assert files == {name: content for name, content in contents(tmp_path / "one").items() if name != LOG}
    rows = (tmp_path / "many" / LOG).read_text(encoding="utf-8").splitlines()
    assert sorted(rows) == sorted((tmp_path / "one" / LOG).read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_a_network_gives_the_same_files(engine: Engine, small_snapshot: Path, folder: Path, tmp_path: Path) -> None:
    standardize(small_snapshot, folder, tmp_path / "one")
    standardize_with(open_model(small_snapshot), folder, tmp_path / "many", engine=engine)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


@pytest.mark.slow
def test_classes_are_those_of_one_process(engine: Engine, brightest: Path, folder: Path, tmp_path: Path) -> None:
    model = open_model(brightest, classes=("red", "green", "blue"))
    classify(model, folder, tmp_path / "one")
    done = classify(model, folder, tmp_path / "many", engine=engine)
    assert (done.predicted + done.withheld, done.failed) == (98, 1)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert (tmp_path / "one" / PREDICTIONS).is_file()


@pytest.mark.slow
def test_a_guard_that_other_machines_do_not_see_is_refused(
    engine: Engine, model: Path, folder: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in model.parent.glob("*.json"):
        (own / path.name).write_bytes(path.read_bytes())
    opened = open_model(own / model.name)
    assert opened.guard is not None
    for path in own.glob("*.guard.json"):
        path.unlink()
    with pytest.raises(RunError, match="expected the guard beside"):
        standardize_with(opened, folder, tmp_path / "many", engine=engine)


@pytest.mark.slow
def test_a_machine_with_another_version_or_without_the_program_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("only_here")
    module.Sleepy = type("Sleepy", (Sleepy,), {"__module__": "only_here"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(RunError, match="No module named 'only_here'"):
        run_on(engine, module.Sleepy(), [1])
    monkeypatch.setattr("hemabridge.engines.__version__", "0.0.0")
    with pytest.raises(RunError, match=r"expected hemabridge 0\.0\.0 on each machine"):
        run_on(engine, Sleepy(), [1])


@pytest.mark.slow
def test_a_machine_that_is_lost_in_the_middle_changes_nothing(
    cluster: Any, engine: Engine, model: Path, folder: Path, tmp_path: Path
) -> None:
    standardize(model, folder, tmp_path / "one")
    third = cluster.add_node(num_cpus=2, object_store_memory=80_000_000)
    lost: list[int] = []

    def lose(what: str, count: int, total: int) -> None:
        if what == "re-staining" and count == 20:
            lost.append(count)
            Thread(target=cluster.remove_node, args=(third,), kwargs={"allow_graceful": False}).start()

    standardize_with(open_model(model), folder, tmp_path / "many", engine=engine, progress=lose)
    assert lost == [20]
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


@pytest.mark.slow
def test_no_cluster_at_an_address_is_said() -> None:
    with (
        pytest.raises(RunError, match="expected a cluster of Ray at"),
        opened_engine("ray", "127.0.0.1:1"),
    ):
        pass
