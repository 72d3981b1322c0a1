"""What the tests of `hemabridge standardize` read of a folder and of its log."""

import csv
import hashlib
from pathlib import Path

import numpy as np

from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.training.snapshots import read_snapshot, write_snapshot
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import Standardized


def picture(seed: int, height: int = 33, width: int = 41) -> UInt8Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def outputs(folder: Path) -> set[str]:
    return set(hashes(folder)) - {LOG, ".lock"}


def statuses(done: Standardized) -> dict[str, str]:
    return {row.path: row.status for row in done.rows}


def log_of(out: Path) -> list[dict[str, str]]:
    with (out / LOG).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def another_model(snapshot: Path, folder: Path, images: int = 16) -> Path:
    tensors, header = read_snapshot(snapshot)
    return write_snapshot(folder, images, 2.0, {k: t * 0.5 for k, t in tensors.items()}, None, header).path
