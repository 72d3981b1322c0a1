"""The training loop: phases, images and files, independent of the model that is trained."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from hemabridge.errors import Interrupted, RunError, TrainingFaultError
from hemabridge.progress import Progress, silent
from hemabridge.storage.run_folder import hold_folder
from hemabridge.training.checkpoints import (
    check_header,
    check_identity,
    check_processes,
    checkpoint_path,
    read_newest_checkpoint,
    write_checkpoint,
)
from hemabridge.training.config import LoopConfig
from hemabridge.training.engine import Engine, WeightAverage, under
from hemabridge.training.events import Event, EventLog, read_events
from hemabridge.training.objective import Batch, Objective
from hemabridge.training.schedules import Schedule
from hemabridge.training.snapshots import Snapshot, list_snapshots, write_snapshot
from hemabridge.training.stopping import StopRequest, Watch, listen_for_stop
from hemabridge.training.tensorfile import Header, read_tensors

SNAPSHOT_FOLDER = "snapshots"
CHECKPOINT_FOLDER = "state"


OnSnapshot: TypeAlias = Callable[[Snapshot, Mapping[str, Tensor]], None]
"""A function of a snapshot that was just written, and its weights."""


@dataclass(frozen=True)
class Training:
    """One training: the model, its data and its length.

    Attributes:
        objective: the model.
        batches: called with the number of images already seen, returns the batches from there on; each holds
            `loop.batch_size` images, whatever the number of processes, and depends on its position alone.
        schedules: one per network.
        averaged: names of the networks whose weights are averaged.
        loop: length, batch size, and when to write files.
        identity: settings and hashes that must not change between a run and its resumption; JSON.
        about: header of the snapshots; its `images` and `epoch` are filled in.
        on_snapshot: called after each snapshot, with its weights (the averaged ones if there are any, by names
            `network/key`, on the CPU), for sample pictures.
        watch: checks at intervals whether the training is sound, and may stop it.
    """

    objective: Objective
    batches: Callable[[int], Iterable[Batch]]
    schedules: Mapping[str, Schedule]
    loop: LoopConfig
    averaged: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    about: Header = field(default_factory=lambda: Header(kind="training"))
    on_snapshot: OnSnapshot | None = None
    watch: Watch | None = None


def fit(training: Training, folder: Path, fabric: Fabric, progress: Progress = silent) -> list[Snapshot]:
    """Train, or resume from the newest checkpoint in the folder (bit-exact on a CPU).

    Returns the snapshots, oldest first.

    Raises:
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written, and the same call resumes.
        NonFiniteLossError: a loss became NaN or infinite; the last checkpoint is kept.
        RunError: another process holds the folder, or the folder holds a run with another identity.
        TrainingFaultError: the training's watch stopped it; the same call stops again.
    """
    if training.loop.batch_size % fabric.world_size:
        raise RunError(
            f"expected a batch size that {fabric.world_size} processes can share, got {training.loop.batch_size}"
        )
    if fabric.global_rank > 0:
        return _Run(training, folder, fabric, progress).go()
    with hold_folder(folder):
        return _Run(training, folder, fabric, progress).go()


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of all finished runs below a folder; their snapshots are kept."""
    for checkpoints in list(folder.rglob(CHECKPOINT_FOLDER)):
        shutil.rmtree(checkpoints, ignore_errors=True)


class _Run:
    """The state of one call of `fit`."""

    def __init__(self, training: Training, folder: Path, fabric: Fabric, progress: Progress) -> None:
        self.training, self.folder, self.fabric, self.progress = training, folder, fabric, progress
        self.loop = training.loop
        self.engine = Engine(fabric, training.objective, self.loop.optimizer, training.schedules)
        self.average = self._new_average()
        self.events = EventLog(folder / "events.jsonl")
        self.images = 0
        self.checkpoint_folder = folder / CHECKPOINT_FOLDER
        self.checkpointed_at = (-1, time.monotonic())

    def go(self) -> list[Snapshot]:
        with listen_for_stop() as stop:
            self._resume()
            self._heed_watch()
            for batch in self.training.batches(self.images):
                if self.images >= self.loop.total_images:
                    break
                self._step(batch)
                self._write_what_is_due()
                self._watch()
                self._stop_if_asked(stop)
        self._checkpoint()
        self.fabric.barrier()
        return list_snapshots(self.folder)

    def _step(self, batch: Batch) -> None:
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        torch.manual_seed(_mix(self.loop.seed, self.images, rank))
        started = time.perf_counter()
        losses = self.engine.step({name: tensor[rank::ranks] for name, tensor in batch.items()}, self.images)
        before, self.images = self.images, self.images + self.loop.batch_size
        if self.average is not None:
            self.average.update(self.training.objective.nets, self.images, self.loop.batch_size)
        if rank == 0 and _crossed(before, self.images, self.loop.log_every_images):
            seconds = time.perf_counter() - started
            rates = {name: schedule.learning_rate(before) for name, schedule in self.training.schedules.items()}
            self.events.append("step", self.images, losses=losses, learning_rates=rates, step_seconds=round(seconds, 4))
        self.progress("training", min(self.images, self.loop.total_images), self.loop.total_images)

    def _write_what_is_due(self) -> None:
        last = self.images >= self.loop.total_images
        before = self.images - self.loop.batch_size
        if last or any(before < due <= self.images for due in self.loop.snapshot_images):
            self._snapshot()
        if self._any_rank(time.monotonic() - self.checkpointed_at[1] > self.loop.checkpoint_every_seconds):
            self._checkpoint()

    def _snapshot(self) -> None:
        if self.fabric.global_rank == 0:
            raw = under(self.engine.state_dict(), "nets/")
            average = None if self.average is None else self.average.state_dict()
            epoch = self.images / self.loop.epoch_images
            folder = self.folder / SNAPSHOT_FOLDER
            snapshot = write_snapshot(folder, self.images, epoch, raw, average, self.training.about.as_json())
            self.events.append("snapshot", self.images, name=snapshot.name, epoch=epoch)
            if self.training.on_snapshot is not None:
                best = raw if average is None else average
                self.training.on_snapshot(snapshot, {key: t.detach().cpu().clone() for key, t in best.items()})
        self.fabric.barrier()

    def _watch(self) -> None:
        watch = self.training.watch
        if watch is None or not _crossed(self.images - self.loop.batch_size, self.images, watch.every_images):
            return
        if self.fabric.global_rank == 0:
            self.events.append("watch", self.images, **watch.check(self.images, self._events()))
        self._heed_watch()

    def _heed_watch(self) -> None:
        """Stop if the watch returns a reason; a resumed run stops again, since the events are kept."""
        if self.training.watch is None:
            return
        reason = self.training.watch.verdict(self._events()) if self.fabric.global_rank == 0 else None
        if self._any_rank(reason is not None):
            self._checkpoint()
            raise TrainingFaultError(reason or "another process stopped the training")

    def _events(self) -> Sequence[Event]:
        return read_events(self.events.path) if self.events.path.exists() else []

    def _stop_if_asked(self, stop: StopRequest) -> None:
        if self._any_rank(bool(stop)):
            self._checkpoint()
            raise Interrupted(
                f"stopped by {stop.signal_name or 'another process'} after {self.images} images; "
                f"everything is kept in {self.folder}, and the same command goes on from there"
            )

    def _any_rank(self, mine: bool) -> bool:
        if self.fabric.world_size == 1:
            return mine
        votes = cast(Tensor, self.fabric.all_reduce(torch.tensor(float(mine)), reduce_op="sum"))
        return bool(votes > 0)

    # Checkpoints. Rank 0 writes nets, optimizers and averages, which are equal on all ranks; every rank writes what its
    # objective keeps (a replay pool differs from rank to rank). Rank 0 writes last, so that its newest is complete.

    def _checkpoint(self) -> None:
        if self.checkpointed_at[0] != self.images:
            mine = {f"objective/{k}": t for k, t in self.training.objective.state_dict().items()}
            if self.fabric.global_rank == 0:
                self.fabric.barrier()
                mine |= {f"engine/{k}": t for k, t in self.engine.state_dict().items()}
                if self.average is not None:
                    mine |= {f"average/{k}": t for k, t in self.average.state_dict().items()}
            write_checkpoint(self._own_folder(), self.images, mine, self._whose())
            if self.fabric.global_rank > 0:
                self.fabric.barrier()
        self.checkpointed_at = (self.images, time.monotonic())

    def _whose(self) -> dict[str, Any]:
        return {"identity": dict(self.training.identity), "processes": self.fabric.world_size}

    def _own_folder(self) -> Path:
        rank = self.fabric.global_rank
        return self.checkpoint_folder if rank == 0 else self.checkpoint_folder / f"rank-{rank}"

    def _resume(self) -> None:
        found = read_newest_checkpoint(self.checkpoint_folder)
        if found is None:
            self._begin()
            return
        tensors, header = found
        check_header(header, self.checkpoint_folder)
        check_identity(header["identity"], dict(self.training.identity), self.folder)
        check_processes(header.get("processes", self.fabric.world_size), self.fabric.world_size, self.folder)
        self.images = header["images"]
        if self.images > 0:
            try:
                self._restore(tensors)
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                raise RunError(
                    f"expected a checkpoint of these networks in {self.checkpoint_folder}, got a damaged one "
                    f"({error}); remove the newest file there, or start a new run"
                ) from error
        if self.fabric.global_rank == 0:
            self.events.rewind(self.images)
            for snapshot in list_snapshots(self.folder):
                if snapshot.images > self.images:
                    snapshot.path.unlink()
            self.events.append("resume", self.images, processes=self.fabric.world_size)
        self.checkpointed_at = (self.images, time.monotonic())

    def _begin(self) -> None:
        """Write the identity of the run before the first step, so that a run killed at once can be recognized."""
        if self.fabric.global_rank == 0:
            if list_snapshots(self.folder):
                raise RunError(
                    f"expected a new folder, or a run with its state, but {self.folder} holds snapshots and no state; "
                    "give the new run another folder"
                )
            self.events.rewind(0)
            write_checkpoint(self.checkpoint_folder, 0, {}, self._whose())

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.engine.load_state_dict(under(tensors, "engine/"))
        if self.average is not None:
            self.average.load_state_dict(under(tensors, "average/"))
        if self.fabric.global_rank > 0:
            tensors = read_tensors(checkpoint_path(self._own_folder(), self.images))[0]
        self.training.objective.load_state_dict(under(tensors, "objective/"))

    def _new_average(self) -> WeightAverage | None:
        half_life = self.loop.average_half_life_images
        if half_life is None:
            return None
        return WeightAverage({name: self.training.objective.nets[name] for name in self.training.averaged}, half_life)


def _mix(seed: int, images: int, rank: int) -> int:
    """Return a seed that differs for each step and process, and depends on nothing else."""
    digest = hashlib.blake2b(f"{seed}/{images}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _crossed(before: int, now: int, every: int) -> bool:
    return before // every != now // every
