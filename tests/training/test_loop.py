import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from toy import BATCH, TOTAL, batches, cpu, toy_training

from hemabridge.errors import Interrupted, ModelError, NonFiniteLossError, RunError
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.events import read_events
from hemabridge.training.loop import fit
from hemabridge.training.objective import Batch
from hemabridge.training.snapshots import list_snapshots, read_snapshot
from hemabridge.training.tensorfile import read_header, read_tensors, write_tensors


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


def cut_after(images: int) -> object:
    def cut(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(batches(start)):
            if start + number * BATCH >= images:
                raise CutError
            yield batch

    return cut


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    found = read_newest_checkpoint(folder / "state")
    assert found is not None
    return found[0]


def assert_equal_to_the_bit(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert different == []


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy's training, from start to end; it is only read."""
    folder = tmp_path_factory.mktemp("uncut")
    fit(toy_training()[1], folder, cpu())
    return folder


@pytest.mark.parametrize("cut_at", [2, 30, 32, 62])
def test_a_cut_run_that_is_resumed_equals_an_uncut_one_to_the_bit(uncut: Path, tmp_path: Path, cut_at: int) -> None:
    training = toy_training(checkpoint_every_seconds=1e-9)[1]  # a checkpoint after every step
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(cut_at)), tmp_path / "cut", cpu())
    fit(toy_training()[1], tmp_path / "cut", cpu())

    whole, cut = final_state(uncut), final_state(tmp_path / "cut")
    assert any(name.startswith("engine/optimizers/discriminator/") for name in whole)
    assert "objective/images" in whole
    assert any(name.startswith("average/maker/") for name in whole)
    assert_equal_to_the_bit(whole, cut)
    for one, other in zip(list_snapshots(uncut), list_snapshots(tmp_path / "cut"), strict=True):
        assert one.images == other.images
        assert_equal_to_the_bit(read_snapshot(one.path)[0], read_snapshot(other.path)[0])


def test_a_cut_run_loses_only_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    training = toy_training(checkpoint_every_seconds=1e9)[1]
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(40)), tmp_path, cpu())
    fit(toy_training()[1], tmp_path, cpu())
    logged = [event["images"] for event in read_events(tmp_path / "events.jsonl", "step")]
    assert logged == list(range(BATCH, TOTAL + 1, BATCH))


def test_a_run_that_is_cut_before_its_first_checkpoint_is_known_too(uncut: Path, tmp_path: Path) -> None:
    training = toy_training(checkpoint_every_seconds=1e9)[1]
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(20)), tmp_path / "cut", cpu())
    assert [snapshot.images for snapshot in list_snapshots(tmp_path / "cut")] == [16]
    with pytest.raises(RunError, match="recipe changed"):
        fit(dataclasses.replace(toy_training()[1], identity={"recipe": "other"}), tmp_path / "cut", cpu())
    fit(toy_training()[1], tmp_path / "cut", cpu())
    assert_equal_to_the_bit(final_state(uncut), final_state(tmp_path / "cut"))


def test_snapshots_of_which_nobody_knows_the_run_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    fit(toy_training()[1], tmp_path, cpu())
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(RunError, match="holds snapshots and no state"):
        fit(toy_training()[1], tmp_path, cpu())
    assert len(list_snapshots(tmp_path)) == 3


def test_a_run_of_several_processes_is_not_resumed_by_fewer(tmp_path: Path) -> None:
    fit(toy_training()[1], tmp_path, cpu())
    newest = max((tmp_path / "state").glob("*.safetensors"))
    tensors, header = read_tensors(newest)
    write_tensors(newest, tensors, {**header, "processes": 2})
    with pytest.raises(RunError, match=r"expected 2 process\(es\).*got 1"):
        fit(toy_training()[1], tmp_path, cpu())


def test_what_a_killed_write_left_does_no_harm(tmp_path: Path) -> None:
    training = toy_training(checkpoint_every_seconds=1e-9)[1]
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(40)), tmp_path, cpu())
    torn = (
        tmp_path / "snapshots" / ".writing-0123456789ab.safetensors",
        tmp_path / "state" / ".writing-0123456789ab.safetensors",
    )
    for path in torn:
        path.write_bytes(b"torn")
    snapshots = fit(toy_training()[1], tmp_path, cpu())
    assert [snapshot.images for snapshot in snapshots] == [16, 32, 64]
    assert [path.exists() for path in torn] == [False, False]


@pytest.mark.parametrize("header", [{}, {"images": "16", "epoch": 1.0}, {"images": 16, "epoch": None}])
def test_a_stranger_among_the_snapshots_is_named(tmp_path: Path, header: dict[str, object]) -> None:
    write_tensors(tmp_path / "snapshots" / "other.safetensors", {"a": torch.zeros(1)}, header)
    with pytest.raises(ModelError, match=r"expected a snapshot.*other\.safetensors"):
        list_snapshots(tmp_path)


@pytest.mark.parametrize("header", ["[1]", '"text"', "[" * 100_000])
def test_a_hostile_header_is_an_error_that_tells_the_file(tmp_path: Path, header: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"hemabridge": header}))
    with pytest.raises(ModelError, match=r"hostile\.safetensors"):
        read_header(path)


def test_events_after_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    training = toy_training(checkpoint_every_seconds=1e-9)[1]
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(20)), tmp_path, cpu())
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"kind": "step", "images": 22, "losses": {}}\n{"kind": "st')
    fit(toy_training()[1], tmp_path, cpu())
    steps = [event["images"] for event in read_events(tmp_path / "events.jsonl", "step")]
    assert steps == list(range(BATCH, TOTAL + 1, BATCH))


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(uncut: Path, tmp_path: Path) -> None:
    training = toy_training(checkpoint_every_seconds=1e-9)[1]
    with pytest.raises(CutError):
        fit(dataclasses.replace(training, batches=cut_after(40)), tmp_path / "cut", cpu())
    newest = max((tmp_path / "cut" / "state").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:100])
    fit(toy_training()[1], tmp_path / "cut", cpu())
    assert_equal_to_the_bit(final_state(uncut), final_state(tmp_path / "cut"))


def test_snapshots_come_at_their_image_counts_and_at_the_end_and_hold_averages(tmp_path: Path) -> None:
    objective, training = toy_training()
    snapshots = fit(training, tmp_path, cpu())
    assert [(s.images, s.epoch) for s in snapshots] == [(16, 1.0), (32, 2.0), (64, 4.0)]
    average, header = read_snapshot(snapshots[-1].path)
    whole = read_tensors(snapshots[-1].path)[0]
    raw = {name.removeprefix("raw/"): tensor for name, tensor in whole.items() if name.startswith("raw/")}
    assert header["kind"] == "toy"
    assert torch.equal(raw["discriminator/weight"], objective.discriminator.weight)
    assert set(average) == {name for name in raw if name.startswith("maker/")}
    assert not torch.equal(raw["maker/0.weight"], average["maker/0.weight"])


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    fit(toy_training()[1], tmp_path, cpu())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    fit(toy_training()[1], tmp_path, cpu())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before


def test_another_recipe_is_refused_by_name_of_what_changed(tmp_path: Path) -> None:
    training = toy_training()[1]
    fit(training, tmp_path, cpu())
    with pytest.raises(RunError, match="recipe changed"):
        fit(dataclasses.replace(toy_training()[1], identity={"recipe": "other"}), tmp_path, cpu())


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    objective, training = toy_training()

    def poisoned(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(batches(start)):
            yield {"x": batch["x"] * (float("nan") if number == 3 else 1.0)}

    with pytest.raises(NonFiniteLossError, match="after 6 images"):
        fit(dataclasses.replace(training, batches=poisoned), tmp_path, cpu())
    assert all(torch.isfinite(p).all() for net in objective.nets.values() for p in net.parameters())


def test_only_the_nets_of_a_phase_move_in_it(tmp_path: Path) -> None:
    objective, training = toy_training(total_images=BATCH)
    discriminator = objective.discriminator.weight.detach().clone()
    one_phase = dataclasses.replace(training, objective=objective)
    objective.phases = (objective.phases[0],)
    fit(one_phase, tmp_path, cpu())
    assert torch.equal(objective.discriminator.weight, discriminator)
    assert objective.discriminator.weight.grad is None


def _run_as_a_process(folder: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys, time; from pathlib import Path; import dataclasses; import toy\n"
        "from hemabridge.training.loop import fit\n"
        "from hemabridge.errors import HemabridgeError\n"
        "def slowly(start):\n"
        "    for batch in toy.batches(start):\n"
        "        time.sleep(0.05); yield batch\n"
        "training = toy.toy_training(checkpoint_every_seconds=0.01)[1]\n"
        "try: fit(dataclasses.replace(training, batches=slowly), Path(sys.argv[1]), toy.cpu())\n"
        "except HemabridgeError as error: sys.exit(error.exit_code)\n"
    )
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], env={**os.environ, "PYTHONPATH": here}, stderr=subprocess.DEVNULL
    )


def _wait_for_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not list((folder / "state").glob("images-*.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_a_signal_ends_resumes_to_the_same_bits(uncut: Path, tmp_path: Path, how: signal.Signals) -> None:
    process = _run_as_a_process(tmp_path / "cut")
    _wait_for_checkpoint(tmp_path / "cut")
    process.send_signal(how)
    assert process.wait(timeout=60) == (-signal.SIGKILL if how is signal.SIGKILL else Interrupted.exit_code)
    fit(toy_training()[1], tmp_path / "cut", cpu())
    assert_equal_to_the_bit(final_state(uncut), final_state(tmp_path / "cut"))


@pytest.mark.slow
def test_two_processes_cannot_hold_one_folder(tmp_path: Path) -> None:
    process = _run_as_a_process(tmp_path)
    try:
        _wait_for_checkpoint(tmp_path)
        with pytest.raises(RunError, match="in use"):
            fit(toy_training()[1], tmp_path, cpu())
    finally:
        process.kill()
        process.wait()


def test_snapshots_and_checkpoints_may_be_read_by_whom_other_files_may(tmp_path: Path) -> None:
    fit(toy_training()[1], tmp_path, cpu())
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in [tmp_path / "plain", *tmp_path.rglob("*.safetensors")]}
    assert len(modes) == 1


def test_a_gradient_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    """The loss sqrt(0) is finite, its gradient is not."""
    objective, training = toy_training()

    def root(images: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"root": (images[1].mean() * 0.0).sqrt()}

    objective.phases = (dataclasses.replace(objective.phases[0], losses=root),)
    before = objective.maker[0].weight.detach().clone()
    with pytest.raises(NonFiniteLossError, match="norm of the gradients"):
        fit(training, tmp_path, cpu())
    assert torch.equal(objective.maker[0].weight, before)
