"""`hemabridge watch`: re-stains and classifies what arrives in a folder, batch by batch, until it is stopped."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hemabridge._version import __version__
from hemabridge.data.listing import escaped, is_printable, list_images, not_a_folder
from hemabridge.deployment.audit_log import AuditLog
from hemabridge.errors import InputError, RunError
from hemabridge.models.bundled import BundleModel
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.workflows.watch.arrivals import Arrival, Arrivals, Taken
from hemabridge.workflows.watch.batch import (
    BATCHES,
    HELD,
    QUARANTINE,
    WORK,
    Batch,
    OnAlarm,
    finished_batches,
    quarantine,
    work_on,
)
from hemabridge.workflows.watch.tries import Attempts

LOG: Final = "audit.jsonl"
MOST_IMAGES: Final = 200
"""Images of a batch, so that memory is bounded; the appearance of a site needs no more (`domain.site_profile`)."""
MOST_BYTES: Final = 1_000_000_000
"""Bytes of the files of a batch, and of one file: larger than any image that `read_image` takes, uncompressed."""
LONGEST_PAUSE_S: Final = 60.0
UNREAD: Final = "0" * 64
"""What stands for the SHA-256 of an image that was not read."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class WatchConfig:
    """How a folder is watched.

    Attributes:
        on_alarm: what is done with a batch that must not pass without a look.
        interval_s: seconds between two looks into the folder.
        settle_s: seconds without a change after which an image counts as complete.
        retries: how often an image that cannot be read, or the writing of a batch, is tried again.
        once: stop when nothing is left to do.
        keep_identity: whether re-stained DICOM files get patient, study and specimen of their source.
    """

    on_alarm: OnAlarm = "hold"
    interval_s: float = 2.0
    settle_s: float = 5.0
    retries: int = 3
    once: bool = False
    keep_identity: bool = False


@dataclass
class Watched:
    """What a call did.

    Attributes:
        batches: number of batches by gate.
        images: number of images with a result.
        quarantined: number of images that cannot be used.
    """

    batches: Counter[str] = field(default_factory=Counter)
    images: int = 0
    quarantined: int = 0


def watch(model: BundleModel, source: Path, out: Path, config: WatchConfig, tell: Tell) -> Watched:
    """Watch a folder until a signal stops the process, or nothing is left to do (`WatchConfig.once`).

    An image is recognized by its SHA-256: one that has a result is not done again, whatever its name. `source` is only
    read. A batch appears whole in the output, and then gets its entries in the log; after a kill, a batch that appeared
    without them gets them at the next start.

    Args:
        model: a bundle.
        source: the folder; it may vanish for a while, as one of a network does.
        out: a new or empty folder, or that of an earlier call.
        config: how.
        tell: called with each line for a user.

    Raises:
        InputError: a folder cannot be used.
        RunError: another process works in `out`, its log was changed, or it cannot be written after all retries.
    """
    if not source.is_dir():
        raise InputError(f"expected a folder to watch, got {not_a_folder(source)}")
    check_apart(out, source)
    check_outputs(out, names_in(out) - {LOG, BATCHES, HELD, QUARANTINE})
    with hold_folder(out):
        shutil.rmtree(out / WORK, ignore_errors=True)
        watcher = _Watcher(model, out, config, tell, Arrivals(source, config.settle_s), AuditLog(out / LOG))
        watcher.recover()
        for line in _first_lines(source, out, config):
            tell(line)
        watcher.log.append([{"event": "started", "bundle_sha256": model.sha256, "version": __version__}])
        try:
            watcher.run()
        except KeyboardInterrupt:
            tell("stopped; what was not finished is done at the next start")
        shutil.rmtree(out / WORK, ignore_errors=True)
        watcher.log.append([{"event": "stopped"}])
    return watcher.done


def _first_lines(source: Path, out: Path, config: WatchConfig) -> list[str]:
    """Return what is told at the start: what is done with which files, and how it ends."""
    until = "then stops" if config.once else f"looks again every {config.interval_s:g} s, and stops on Ctrl-C"
    alarmed = out / (HELD if config.on_alarm == "hold" else BATCHES)
    return [
        f"watching {source}: does what is there and complete, {until}",
        f"batches go to {out / BATCHES}, with an alarm to {alarmed}; images that cannot be used are copied to "
        f"{out / QUARANTINE}",
        "files whose names are not those of images are left alone",
        *(f"left alone: {left}" for left in list_images(source).left_out),
    ]


def first_of(found: Sequence[Arrival]) -> Sequence[Arrival]:
    """Return the images of the next batch: the first ones, at most `MOST_IMAGES` and `MOST_BYTES`, and at least one."""
    total = 0
    for count, arrival in enumerate(found):
        total += arrival.state.size
        if count == MOST_IMAGES or (count and total > MOST_BYTES):
            return found[:count]
    return found


def _reason_against(arrival: Arrival) -> str:
    """Return why an image is not read; empty if it may be."""
    if not is_printable(arrival.path):
        return "expected a file name of printable UTF-8 characters without \\, got another; rename the file"
    if arrival.state.size > MOST_BYTES:
        return f"expected a file of at most {MOST_BYTES:,} bytes, got {arrival.state.size:,}"
    return ""


class _Watcher:
    """One call of `watch`."""

    def __init__(
        self, model: BundleModel, out: Path, config: WatchConfig, tell: Tell, arrivals: Arrivals, log: AuditLog
    ) -> None:
        self.model, self.out, self.config, self.tell = model, out, config, tell
        self.arrivals, self.log = arrivals, log
        self.done = Watched()
        self.known: set[str] = set()
        self.scores: list[float] = []
        self.batches: set[str] = set()
        self.unread: Counter[Arrival] = Counter()
        self.attempts = Attempts(out)
        for entry in log.earlier:
            self._learn(entry)

    def recover(self) -> None:
        """Log the batches that appeared, and were not logged since the process was killed."""
        for batch in finished_batches(self.out):
            if batch.batch not in self.batches:
                self._note(batch.entries())
                self.tell(f"{batch.batch}: had appeared before a kill, and is logged now")

    def run(self) -> None:
        """Do what arrives."""
        failures = 0
        while True:
            found = self._arrived()
            try:
                worked = self._work(first_of(found))
                failures = 0
            except OSError as error:
                failures += 1
                self._after_failure(error, failures)
                continue
            if worked or len(found) > len(first_of(found)):
                continue
            if self.config.once and not found and not self.arrivals.is_waiting():
                return
            time.sleep(self.config.interval_s)

    def _arrived(self) -> list[Arrival]:
        try:
            return self.arrivals.complete(time.monotonic())
        except InputError as error:
            if self.config.once:
                raise
            self.tell(f"waiting for the folder: {error}")
            return []

    def _work(self, found: Sequence[Arrival]) -> bool:
        """Do the new ones among complete images; return whether there were some."""
        new: dict[Arrival, Taken] = {}
        for arrival in found:
            taken = self._taken(arrival)
            if taken is not None and taken.sha256 in self.known:
                self.arrivals.finish([arrival])
            elif taken is not None and self.attempts.counts[taken.sha256] > self.config.retries:
                self._give_up(arrival, taken)
            elif taken is not None:
                new[arrival] = taken
        if not new:
            return False
        # After such an end, an image that may have caused it is done alone.
        alone = next((arrival for arrival, taken in new.items() if self.attempts.counts[taken.sha256]), None)
        if alone is not None:
            new = {alone: new[alone]}
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{self.log.chain.entries + 1:06d}"
        images = list(new.values())
        with self.attempts.begun([taken.sha256 for taken in images]):
            batch = work_on(
                self.model,
                images,
                self.out,
                name,
                self.scores,
                self.config.on_alarm,
                keep_identity=self.config.keep_identity,
            )
        self._note(batch.entries())
        self.arrivals.finish(new)
        self._count(batch)
        return True

    def _taken(self, arrival: Arrival) -> Taken | None:
        """Read an image; after too many failures it goes into quarantine without its content."""
        if reason := _reason_against(arrival):
            self._quarantine(arrival, Taken(escaped(arrival.path), UNREAD, b""), reason)
            return None
        try:
            return self.arrivals.take(arrival)
        except OSError as error:
            self.unread[arrival] += 1
            if self.unread[arrival] <= self.config.retries:
                return None
            reason = f"cannot be read after {self.unread[arrival]} tries: {error.strerror or error}"
            self._quarantine(arrival, Taken(arrival.path, UNREAD, b""), reason)
            return None

    def _give_up(self, arrival: Arrival, taken: Taken) -> None:
        """Put an image into quarantine on which the program ended too often."""
        reason = f"the program ended {self.attempts.counts[taken.sha256]} times while it worked on the image"
        self._quarantine(arrival, taken, reason)

    def _quarantine(self, arrival: Arrival, taken: Taken, reason: str) -> None:
        quarantine(self.out, taken.path, taken.sha256, reason, taken.content or None)
        self._note([{"event": "quarantined", "path": taken.path, "sha256": taken.sha256, "reason": reason}])
        self.arrivals.finish([arrival])
        self.done.quarantined += 1
        self.tell(f"quarantine: {taken.path}: {reason}")

    def _after_failure(self, error: OSError, failures: int) -> None:
        """Wait, longer each time; after too many failures give up."""
        shutil.rmtree(self.out / WORK, ignore_errors=True)
        if failures > self.config.retries:
            raise RunError(
                f"expected to write to {self.out}, got an error of the system {failures} times: {error}; free some "
                "space or repair the folder, and start again: what is finished stays"
            ) from error
        self.tell(f"cannot write, try {failures} of {self.config.retries + 1}: {error}")
        time.sleep(min(LONGEST_PAUSE_S, self.config.interval_s * 2**failures))

    def _note(self, entries: Sequence[dict[str, Any]]) -> None:
        self.log.append(entries)
        for entry in entries:
            self._learn(entry)

    def _learn(self, entry: dict[str, Any]) -> None:
        """Record the finished images and the appearance of batches from a log entry."""
        if entry.get("event") == "image" or (entry.get("event") == "quarantined" and entry["sha256"] != UNREAD):
            self.known.add(str(entry["sha256"]))
        elif entry.get("event") == "batch":
            self.batches.add(str(entry["batch"]))
            own = entry["bundle_sha256"] == self.model.sha256 and entry["score"] is not None
            self.scores += [float(entry["score"])] if own else []

    def _count(self, batch: Batch) -> None:
        self.done.batches[batch.gate] += 1
        self.done.quarantined += len(batch.unusable)
        self.done.images += len(batch.cells) - len(batch.unusable)
        place = HELD if batch.gate == "held" else BATCHES
        unusable = f", {len(batch.unusable)} in quarantine" if batch.unusable else ""
        self.tell(f"{batch.batch}: {len(batch.cells)} images {batch.gate}{unusable}: {self.out / place / batch.batch}")
        for alarm in batch.alarms:
            self.tell(f"ALARM: {alarm}")
