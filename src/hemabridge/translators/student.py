"""Training of a student that copies a re-stainer, and its distance from the teacher."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError, RunError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.closeness import mean_delta_e_2000, psnr_db
from hemabridge.progress import Progress, silent
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.training.loop import Training, fit
from hemabridge.training.schedules import ConstantThenLinear
from hemabridge.training.snapshots import Snapshot
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.distillation import Distillation, PairedBatches
from hemabridge.translators.header import TranslatorHeader
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.objective_config import DistillationConfig
from hemabridge.translators.train import loop_config

FIDELITY = "fidelity.json"
HELD_OUT = 0.1
"""Share of the cells that are held out, at least one, on which the student is compared with its teacher."""
RESTAINED_AT_ONCE = 64


@dataclass(frozen=True)
class Fidelity:
    """The similarity of a student to its teacher, as means over held-out cells.

    Attributes:
        cells: number of cells.
        psnr_db: peak signal-to-noise ratio in decibels; higher is more similar.
        delta_e_2000: CIEDE2000 over the pixels; 0 if equal.
        change_delta_e_2000: CIEDE2000 between the originals and the teacher's images, for comparison.
    """

    cells: int
    psnr_db: float
    delta_e_2000: float
    change_delta_e_2000: float


_KIND: Final = FileKind("how near each student is to its teacher", RunError, "distil again in another folder")
_FIDELITIES: Final = TypeAdapter(dict[str, Fidelity])


def _schedule(config: TranslatorConfig, epoch_images: int) -> ConstantThenLinear:
    return ConstantThenLinear(
        config.learning_rate, epoch_images, config.constant_epochs, config.decay_epochs, config.stepping
    )


def _check_cells(cells: CellSet, load_px: int) -> None:
    if len(cells) < 2 or cells.images.shape[1] != load_px:
        raise InputError(
            f"expected two or more cells of {load_px} px to distil on, got {len(cells)} of "
            f"{cells.images.shape[1]} px; load them again"
        )


def distill(
    config: TranslatorConfig,
    teacher: Standardizer,
    teacher_sha256: str,
    cells: CellSet,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    progress: Progress = silent,
) -> list[Snapshot]:
    """Train, or resume, a student; the file `FIDELITY` in its folder holds a `Fidelity` for each snapshot, by name.

    Args:
        config: its model is a `DistillationConfig`.
        teacher: the re-stainer that the student copies.
        teacher_sha256: of the teacher's file; a resumed run must have the same.
        cells: of the source site, `config.load_px` pixels a side, at least two; labels are not used.
        folder: the run folder.
        fabric: device, precision and processes.
        seed: of weights, order, crops and the held-out cells.
        progress: called after each step.

    Raises:
        InputError: the model is not a student, or the cells have another size or are fewer than two; see also `fit`.
    """
    student = _student_of(config)
    _check_cells(cells, config.load_px)
    restained = _restained(teacher, cells.images, progress)
    seen, held_out = _parted(len(cells), seed)
    loop = loop_config(config, len(seen), len(seen), seed)
    schedule = _schedule(config, loop.epoch_images)
    torch.manual_seed(seed)
    described = {"config": config.model_dump(mode="json"), "seed": seed, "teacher": teacher_sha256}
    fidelities: dict[str, Fidelity] = {}

    about = _header(config, seed, teacher_sha256, cells)

    def compare(snapshot: Snapshot, weights: Mapping[str, Tensor]) -> None:
        copies = NeuralStandardizer.from_tensors(weights, about, snapshot.path).standardize(cells.images[held_out])
        fidelities[snapshot.name] = compared(copies, restained[held_out], cells.images[held_out])
        _write(folder / FIDELITY, fidelities)

    return fit(
        Training(
            objective=Distillation(student),
            batches=PairedBatches(cells.images[seen], restained[seen], config.crop_px, config.batch_size, seed),
            schedules={"to_target": schedule},
            loop=loop,
            averaged=Distillation.averaged,
            identity={**described, "source": [cells.crop_px, *cells.hashes]},
            about=about,
            on_snapshot=compare,
        ),
        folder,
        fabric,
        progress,
    )


def compared(student: UInt8Images, teacher: UInt8Images, originals: UInt8Images) -> Fidelity:
    """Compare the outputs of student and teacher for the same originals, uint8[N, H, W, 3] each, N at least 1."""
    return Fidelity(
        cells=len(originals),
        psnr_db=float(psnr_db(student, teacher).mean()),
        delta_e_2000=float(mean_delta_e_2000(student, teacher).mean()),
        change_delta_e_2000=float(mean_delta_e_2000(originals, teacher).mean()),
    )


def read_fidelities(folder: Path) -> dict[str, Fidelity]:
    """Return the `Fidelity` of each snapshot in a run folder of `distill`, by name.

    Raises:
        RunError: the file is missing or damaged.
    """
    return _KIND.read_as(folder / FIDELITY, _FIDELITIES)


def _write(path: Path, fidelities: dict[str, Fidelity]) -> None:
    known = read_fidelities(path.parent) if path.is_file() else {}
    both = {name: asdict(fidelity) for name, fidelity in {**known, **fidelities}.items()}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(both, indent=2), encoding="utf-8")


def _header(config: TranslatorConfig, seed: int, teacher_sha256: str, cells: CellSet) -> TranslatorHeader:
    return TranslatorHeader(
        config=config,
        seed=seed,
        teacher=teacher_sha256,
        source_crop_px=cells.crop_px,
        target_crop_px=cells.crop_px,
        seen=tuple(sorted(set(cells.hashes))),
    )


def _student_of(config: TranslatorConfig) -> DistillationConfig:
    if not isinstance(config.model, DistillationConfig):
        raise InputError(
            f'expected a translator with model.kind = "distillation", got {config.model.kind!r}; '
            'take preset = "distillation", and choose the student by model.generator'
        )
    return config.model


def _restained(teacher: Standardizer, images: UInt8Images, progress: Progress) -> UInt8Images:
    out = np.empty_like(images)
    for start in range(0, len(images), RESTAINED_AT_ONCE):
        out[start : start + RESTAINED_AT_ONCE] = teacher.standardize(images[start : start + RESTAINED_AT_ONCE])
        progress("re-staining by the teacher", min(start + RESTAINED_AT_ONCE, len(images)), len(images))
    return out


def _parted(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the training cells, and of the held-out cells."""
    order = np.random.default_rng((seed, count)).permutation(count)
    first = max(1, round(HELD_OUT * count))
    return np.sort(order[first:]), np.sort(order[:first])
