"""Training a translator between two sites."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from hemabridge.data.cells import CellSet
from hemabridge.domain.site_profile import profiles_of
from hemabridge.errors import InputError, TrainingFaultError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.progress import Progress, silent
from hemabridge.sampling import evenly_spaced
from hemabridge.training.config import LoopConfig
from hemabridge.training.loop import Training, fit
from hemabridge.training.schedules import ConstantThenLinear
from hemabridge.training.snapshots import Snapshot
from hemabridge.translators.attempts import Attempts
from hemabridge.translators.batches import UnpairedBatches, chances_of
from hemabridge.translators.catalog import new_objective
from hemabridge.translators.colorization_audit import write_color_audit
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.header import Direction, TranslatorHeader
from hemabridge.translators.neural import NeuralStandardizer, directions_of
from hemabridge.translators.watchdog import watchdog_for

SAMPLES = 6


def train_translator(
    config: TranslatorConfig,
    source: CellSet,
    target: CellSet,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    progress: Progress = silent,
) -> list[Snapshot]:
    """Train, or resume, a translator between two sites whose cells have `config.load_px` pixels a side.

    Labels of the source are not used, and those of the target only for `config.balance`. Returns the snapshots, oldest
    first. For each, `samples/` shows the same cells of both sites (of the source alone if the model has one direction),
    original above re-stained.

    Raises:
        InputError: the cells have another size, or there are no classes to balance.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
        TrainingFaultError: the watchdog stopped the last seed that `config.watchdog` allows. The file `attempts.RECORD`
            in the folder states the seed that is used, and why earlier ones were stopped.
    """
    for cells in (source, target):
        if cells.images.shape[1] != config.load_px:
            raise InputError(f"expected cells of {config.load_px} px, got {cells.images.shape[1]} px; load them again")
    attempts = Attempts(folder, seed, fabric)
    while True:
        try:
            snapshots = fit(_training(config, source, target, folder, attempts.seed), folder, fabric, progress)
        except TrainingFaultError as error:
            if len(attempts.stopped) >= config.watchdog.restarts:
                raise TrainingFaultError(_stopped_for_good(error, attempts, folder)) from error
            attempts.stop(str(error))
        else:
            attempts.finish()
            return snapshots


def _training(config: TranslatorConfig, source: CellSet, target: CellSet, folder: Path, seed: int) -> Training:
    torch.manual_seed(seed)
    model = new_objective(config.model)
    model.measure_sites(source.images, target.images)
    loop = loop_config(config, len(source), len(target), seed)
    schedule = ConstantThenLinear(
        config.learning_rate, loop.epoch_images, config.constant_epochs, config.decay_epochs, config.stepping
    )
    about = _header(config, source, target, seed)

    def show(snapshot: Snapshot, weights: Mapping[str, Tensor]) -> None:
        at = folder / "samples" / snapshot.name
        at.parent.mkdir(exist_ok=True)
        known = directions_of(weights)
        found = {each: NeuralStandardizer.from_tensors(weights, about, snapshot.path, each) for each in known}
        _write_samples(found, source, target, config.crop_px, at.with_name(f"{at.name}.png"))
        write_color_audit(found["to_target"], source, target, at.with_name(f"{at.name}.colors.json"))

    watchdog = watchdog_for(config.watchdog, model, source.images, target.images, config.crop_px, loop.total_images)
    return Training(
        objective=model,
        batches=UnpairedBatches(
            source.images,
            target.images,
            config.crop_px,
            config.batch_size,
            seed,
            config.stride,
            *chances_of(config.balance, source, target),
        ),
        schedules=dict.fromkeys(model.nets, schedule),
        loop=loop,
        averaged=model.averaged,
        identity={
            # The watchdog does not affect the weights, so its settings may change when a run is resumed.
            "config": config.model_dump(mode="json", exclude={"watchdog"}),
            "seed": seed,
            "source": [source.crop_px, *source.hashes],
            "target": [target.crop_px, *target.hashes],
            **({} if config.balance == "none" else {"labels": target.labels.tolist()}),
        },
        about=about,
        on_snapshot=show,
        watch=watchdog.watch(),
    )


def _header(config: TranslatorConfig, source: CellSet, target: CellSet, seed: int) -> TranslatorHeader:
    return TranslatorHeader(
        config=config,
        seed=seed,
        source_crop_px=source.crop_px,
        target_crop_px=target.crop_px,
        seen=tuple(sorted({*source.hashes, *target.hashes})),
        sites=profiles_of(source.images, target.images, source.crop_px, target.crop_px),
    )


def _stopped_for_good(error: TrainingFaultError, attempts: Attempts, folder: Path) -> str:
    earlier = "".join(f"; seed {one.seed} before it, {one.reason}" for one in attempts.stopped)
    return (
        f"expected a translator that re-stains, but seed {attempts.seed} was stopped {error}{earlier}. All is kept in "
        f"{folder}: look at samples/ and events.jsonl there. Try another seed or preset, allow more "
        '`watchdog.restarts`, or go on regardless with `--set translator.watchdog.on_fault="warn"`'
    )


def loop_config(config: TranslatorConfig, source: int, target: int, seed: int) -> LoopConfig:
    """Return length and snapshots of a training on sites with so many cells."""
    epoch = config.epoch_length(source, target)
    total = epoch * (config.constant_epochs + config.decay_epochs)
    every = epoch * config.snapshot_every_epochs
    return LoopConfig(
        total_images=total,
        batch_size=config.batch_size,
        epoch_images=epoch,
        snapshot_images=(*range(every, total, every), *config.snapshot_images),
        average_half_life_images=config.average_half_life_images,
        seed=seed,
        optimizer=config.optimizer,
    )


def _write_samples(
    standardizers: Mapping[Direction, NeuralStandardizer], source: CellSet, target: CellSet, crop_px: int, path: Path
) -> None:
    rows: list[UInt8Images] = []
    shown = min(SAMPLES, len(source), len(target))
    for direction, standardizer in standardizers.items():
        cells = source if direction == "to_target" else target
        places = evenly_spaced(len(cells), shown, ends=True)
        margin = (cells.images.shape[1] - crop_px) // 2
        originals = cells.images[places, margin : margin + crop_px, margin : margin + crop_px]
        restained = standardizer.standardize(originals)
        rows += [np.concatenate(list(originals), axis=1), np.concatenate(list(restained), axis=1)]
    write_image(path, np.concatenate(rows, axis=0))
