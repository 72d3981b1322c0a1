"""Watches a folder of simulated cells once, and tells what was logged."""

from pathlib import Path

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.deployment.audit_log import read_entries
from hemabridge.imaging.files import write_image
from hemabridge.models.bundled import BundleModel
from hemabridge.workflows.watch.watch import LOG, WatchConfig, Watched, watch

KINDS = ("neutrophil", "lymphocyte")
ONCE = WatchConfig(settle_s=0, interval_s=0.01, retries=1, once=True)


def cells_of(hospital: str, folder: Path, seed: int = 3, count: int = 20) -> Path:
    images, _ = simulate_cells(KINDS, count, HOSPITALS[hospital], seed, 48)
    for number, image in enumerate(images):
        write_image(folder / f"{number:02d}.png", image)
    return folder


def watched(model: BundleModel, source: Path, out: Path, config: WatchConfig = ONCE) -> tuple[Watched, list[str]]:
    told: list[str] = []
    return watch(model, source, out, config, told.append), told


def events(out: Path, kind: str) -> list[dict]:
    return [entry for entry in read_entries(out / LOG) if entry["event"] == kind]
