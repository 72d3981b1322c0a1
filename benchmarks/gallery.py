"""The same cells through every method: one picture and one table, on two simulated hospitals with a known truth.

    python benchmarks/gallery.py --picture docs/all-methods.png

Normalizers are fitted and the small translators trained, each once, on 60 unlabeled cells of each of four classes; the
cells that are measured are others. What was trained is kept in --out: a second call only draws. One random start. The
row `best table` is no method: a smooth color table fitted on the true target rendering of the source's cells says how
near any map of colors alone can come.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.closeness import gradient_correlation, mean_delta_e_2000
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.normalizers.color_table import fit_table
from hemabridge.normalizers.glass import white_of
from hemabridge.normalizers.measures import site_white, whitened
from hemabridge.normalizers.sliced_transport import SlicedTransport
from hemabridge.storage.stages import DONE, Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.student import distill
from hemabridge.translators.train import train_translator

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
SOURCE, TARGET = "yellow-field", "clinic-like"
SIZE_PX = 64
CELLS_PER_CLASS = 60
TRANSLATORS = (
    "pixel",
    "film",
    "lut",
    "bilateral",
    "target-only",
    "distillation",
    "cyclegan-demo",
    "cyclegan-resize",
    "cut-cpu",
    "colorization-cpu",
    "gray-then-color",
)
TEACHER = "sliced-ot"
BEST_TABLE_PIXELS = 100_000
FABRIC = start_fabric("cpu")
ROW = "{:22s} {:>7s} {:>9s} {:>10s} {:>10s}"


def main() -> None:
    """Fit, train, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--picture", type=Path, default=Path("runs/gallery/all-methods.png"))
    parser.add_argument("--translators", default=",".join(TRANSLATORS))
    spec = parser.parse_args()
    source, target = _cells(SOURCE, 1), _cells(TARGET, 2)
    test, truth = _cells(SOURCE, 3, CELLS_PER_CLASS // 4), _cells(TARGET, 3, CELLS_PER_CLASS // 4, noise=False)
    shown = [0, 15, 30, 31, 45, 46]
    rows: dict[str, UInt8Images] = {"original": test.images}
    print(f"{SOURCE} -> {TARGET}, {SIZE_PX} px, n = {len(test)}")
    print(ROW.format("", "CPU s", "images/s", "CIEDE2000", "gradients"))
    _print("original", 0.0, 0.0, test.images, test, truth)
    for name in NORMALIZERS:
        started = time.process_time()
        normalizer = fit_on_cells(name, source.images, target.images)
        seconds = time.process_time() - started
        rows[name], speed = _restained(normalizer, test.images)
        _print(name, seconds, speed, rows[name], test, truth)
    _print("best table", 0.0, 0.0, _best_table(source, target).standardize(test.images), test, truth)
    for name in spec.translators.split(","):
        translator, seconds = _translator(name, source, target, Stages(spec.out))
        rows[name], speed = _restained(translator, test.images)
        _print(name, seconds, speed, rows[name], test, truth)
    rows["truth"] = truth.images
    columns = [CLASSES[test.labels[place]] for place in shown]
    names = [name.replace("-", "-_", 1) if len(name) > 18 else name for name in rows]  # "_" begins a new line
    picture = draw_sheet([[images[place] for place in shown] for images in rows.values()], names, columns)
    write_image(spec.picture, picture)


def _cells(hospital: str, seed: int, per_class: int = CELLS_PER_CLASS, *, noise: bool = True) -> CellSet:
    images, labels = simulate_cells(CLASSES, per_class, HOSPITALS[hospital], seed, SIZE_PX, noise=noise)
    ids = tuple(f"{hospital}-{seed}-{number}" for number in range(len(images)))
    return CellSet(images, labels, CLASSES, ids, ids, SIZE_PX)


def _best_table(source: CellSet, target: CellSet) -> SlicedTransport:
    white = site_white(target.images)
    own = np.concatenate([whitened(image, white_of(image, None)[0], white).reshape(-1, 3) for image in source.images])
    true = _cells(TARGET, 1, noise=False).images.reshape(-1, 3)
    chosen = np.random.default_rng(0).choice(len(own), BEST_TABLE_PIXELS, replace=False)
    table = fit_table(own[chosen].astype(np.float64), true[chosen].astype(np.float64))
    return SlicedTransport(target_white=white, table=tuple(np.clip(table, 0, 255).ravel().tolist()))


def _translator(name: str, source: CellSet, target: CellSet, stages: Stages) -> tuple[Standardizer, float]:
    """Return a preset's translator, trained once with crops of at most the cells' size, and its CPU seconds."""
    config = PRESETS[name].config
    if config.crop_px > SIZE_PX:
        stride = max(1, config.stride * SIZE_PX // config.crop_px)
        config = config.model_copy(update={"load_px": SIZE_PX, "crop_px": SIZE_PX, "stride": stride})
    sites = [_resized(cells, config.load_px) for cells in (source, target)]

    def work(folder: Path) -> None:
        if name == "distillation":
            teacher = fit_on_cells(TEACHER, source.images, target.images)
            distill(config, teacher, TEACHER, sites[0], folder, FABRIC, seed=0)
        else:
            train_translator(config, *sites, folder, FABRIC, seed=0)

    folder = stages.run(name, {"config": config.model_dump(mode="json")}, work, drop_checkpoints)
    seconds = json.loads((folder / DONE).read_text(encoding="utf-8"))["cpu_seconds"]
    return open_model(list_snapshots(folder)[-1].path).cell_standardizer(), seconds


def _resized(cells: CellSet, size_px: int) -> CellSet:
    return replace(cells, images=np.stack([resize_square(image, size_px) for image in cells.images]))


def _restained(standardizer: Standardizer, images: UInt8Images) -> tuple[UInt8Images, float]:
    standardizer.standardize(images[:4])
    started = time.perf_counter()
    restained = standardizer.standardize(images)
    return restained, len(images) / (time.perf_counter() - started)


def _print(name: str, seconds: float, speed: float, images: UInt8Images, test: CellSet, truth: CellSet) -> None:
    distance = float(np.mean(mean_delta_e_2000(images, truth.images)))
    kept = float(np.median(gradient_correlation(images, test.images)))
    print(ROW.format(name, f"{seconds:.1f}", f"{speed:.0f}", f"{distance:.2f}", f"{kept:.3f}"), flush=True)


if __name__ == "__main__":
    main()
