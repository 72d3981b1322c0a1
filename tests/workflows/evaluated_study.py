"""The small study of an ensemble that the tests of `hemabridge evaluate` use, and what they read of a call."""

from pathlib import Path
from typing import Any

import polars as pl

from hemabridge.data.manifest import Manifest, write_manifest

CountReads = Any
TRAIN = '{architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}'
CHANGES = (
    "source_fine_tuning=false",
    "guard=false",
    "audit=false",
    'normalizers=["white-point"]',
    'translators=["pixel"]',
    "tested_epochs=[2]",
    f'classifiers=[{{name = "Learner", train = {TRAIN}}}]',
    'ensemble={translator = false, restainings = ["linear-ot"], min_confidence = 0.0, '
    "few_labels = [6], learned_lut = {images = 24}, semi_supervised = {images = 16, batch_size = 8}, "
    "distillation = {images = 16, batch_size = 8}, "
    "members = [{count = 1, train = " + TRAIN.replace("epochs = 1", 'epochs = 1, view = "shape"') + "}]}",
)
QUICK = {
    "load_px": 32,
    "crop_px": 32,
    "stride": 1,
    "batch_size": 8,
    "epoch_images": 32,
    "constant_epochs": 1,
    "decay_epochs": 1,
    "snapshot_every_epochs": 2,
}


def written(manifest: Manifest, path: Path) -> Path:
    write_manifest(manifest, path)
    return path


def predicted(out: Path) -> pl.DataFrame:
    return pl.read_csv(out / "predicted-classes.csv", schema_overrides={"probability": pl.Float64}).fill_null("")
