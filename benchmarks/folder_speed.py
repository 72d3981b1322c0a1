"""CPU time, wall time and memory of `standardize` on a folder of JPEGs, against decoding and encoding the same files.

    python benchmarks/folder_speed.py                    1,000 files of 360 px, every method, three pairs each
    python benchmarks/folder_speed.py --files 10000 --method linear-ot --pairs 1

Each run is a process of its own; its time starts after the imports. A pair is one run that reads each file, decodes it
to RGB, and encodes it again in memory with the same settings, and one run of the folder job. The table shows medians
over the pairs: the floor is the first run, a ratio is that of the same pair. Cells are simulated (64 different ones).
`film` is a translator in a bundle, by ONNX Runtime; to write it, the extra `train` is needed.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

FITTED = ("white-point", "linear-ot", "sliced-ot", "macenko", "reinhard-site", "reinhard-image", "histogram")
LEARNED_LUT = "learned-lut"
FILM = "film"
METHODS = (*FITTED, LEARNED_LUT, FILM)
BARS = {"linear-ot": 3, FILM: 8}
MOST = 4
SIDE_PX = 360
CROP_PX = 240
DIFFERENT = 64
FIT_CELLS = 64


def main() -> None:
    """Print the table, or do one run and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="number of JPEGs in the folder")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs of each method")
    parser.add_argument("--method", action="append", choices=METHODS, help="only this one; may be given several times")
    parser.add_argument("--run", nargs=3, metavar=("WHAT", "IN", "OUT"), help="do one run in this process")
    chosen = parser.parse_args()
    if chosen.run is not None:
        print(json.dumps(measured(chosen.run[0], Path(chosen.run[1]), Path(chosen.run[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        apart(write_cells, work / "in", chosen.files)
        if chosen.method is None or FILM in chosen.method:
            apart(write_film, work)
        print("| method | CPU of the floor | CPU | CPU ratio | bar | wall ratio | peak memory |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for method in chosen.method or METHODS:
            model = work / (f"{FILM}.hemabridge" if method == FILM else f"{method}.json")
            print(as_row(method, pairs_of(work, model, chosen.pairs)), flush=True)


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Do some work in a new process: a run counts what its parent held when it was started as its own peak."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(work, *arguments).result()


def write_cells(folder: Path, count: int, side_px: int = SIDE_PX) -> None:
    """Write `count` JPEGs of another hospital, 360 px if not stated, and fit every method on cells of both."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS, TARGET, simulate_cells
    from hemabridge.imaging.files import write_image
    from hemabridge.imaging.scale import CropSpec
    from hemabridge.normalizers.catalog import fit_on_cells
    from hemabridge.normalizers.normalizer import CellScale
    from hemabridge.normalizers.sliced_transport import SlicedTransport
    from hemabridge.normalizers.table_normalizer import LearnedLut
    from hemabridge.sampling import evenly_spaced

    each = -(-DIFFERENT // len(CLASSES))
    photographs, _ = simulate_cells(CLASSES, each, HOSPITALS["yellow-field"], 0, side_px)
    crop_px = side_px * CROP_PX // SIDE_PX
    cells = CropSpec(crop_px, 96).cut_all(photographs[evenly_spaced(len(photographs), FIT_CELLS)])
    target, _ = simulate_cells(CLASSES, each, HOSPITALS[TARGET], 1, 96)
    scale = CellScale(source_crop_px=crop_px, size_px=96)
    for method in FITTED:
        fitted = fit_on_cells(method, cells, target, scale)
        (folder.parent / f"{method}.json").write_text(fitted.to_json(), encoding="utf-8")
        if isinstance(fitted, SlicedTransport):  # a learned table is as large; what is in it does not matter
            table = fitted.model_dump(exclude={"method"}) | {"learned_for": "0" * 64}
            learned = LearnedLut.model_validate(table)
            (folder.parent / f"{LEARNED_LUT}.json").write_text(learned.to_json(), encoding="utf-8")
    folder.mkdir()
    for number in range(count):
        file = folder / f"{number:06d}.jpg"
        if number < DIFFERENT:
            write_image(file, photographs[number])
        else:
            shutil.copyfile(folder / f"{number % DIFFERENT:06d}.jpg", file)


def write_film(work: Path) -> None:
    """Train the preset `film` for a moment, since its speed does not depend on its weights, and export it."""
    import numpy as np

    from hemabridge.data.cells import CellSet
    from hemabridge.data.simulate import CLASSES, HOSPITALS, TARGET, simulate_cells
    from hemabridge.training.run_context import start_fabric
    from hemabridge.translators.presets import PRESETS
    from hemabridge.translators.train import train_translator
    from hemabridge.workflows.export.export import export

    sites = []
    for seed, hospital in enumerate(("yellow-field", TARGET)):
        images, _ = simulate_cells(CLASSES, 4, HOSPITALS[hospital], seed, 96)
        names = tuple(f"{hospital}-{number}" for number in range(len(images)))
        sites.append(CellSet(images, np.full(len(images), -1), (), names, names, CROP_PX))
    brief = {"epoch_images": 2, "constant_epochs": 1, "decay_epochs": 0}
    config = PRESETS[FILM].config.model_copy(update=brief)
    trained = train_translator(config, sites[0], sites[1], work / "run", start_fabric("cpu"), seed=0)[-1].path
    export(trained, work / FILM, images=work / "in")


def pairs_of(work: Path, model: Path, count: int) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return the figures of pairs of runs: the floor, and the folder job."""
    # Each run has a folder of its own, which stays: ext4 searches long for numbers of files after many were removed.
    outs = [work / f"out-{model.stem}-{number}" for number in range(count)]
    return [(run_apart("floor", work), run_apart(str(model), work, out)) for out in outs]


def run_apart(what: str, work: Path, out: Path | None = None) -> dict[str, float]:
    """Return the figures of one run in a new process; the floor writes nothing."""
    command = [sys.executable, __file__, "--run", what, str(work / "in"), str(out or "")]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def measured(what: str, source: Path, out: Path) -> dict[str, float]:
    """Do one run and return its CPU and wall seconds and its peak memory in megabytes."""
    if what == "floor":
        from hemabridge.imaging import files  # noqa: F401  the same imports, so that memory can be compared

        wall, cpu = time.perf_counter(), time.process_time()
        decode_and_encode(source)
    else:
        from hemabridge.workflows.standardize.standardize import standardize

        wall, cpu = time.perf_counter(), time.process_time()
        done = standardize(Path(what), source, out)
        if done.count("restained") != len(done.rows):
            raise SystemExit(f"expected {len(done.rows)} re-stained files, got {done.count('restained')}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak_mb": peak_mb}


def decode_and_encode(source: Path) -> None:
    """Decode each JPEG and encode it again, with the quality and chroma of `write_image`."""
    from io import BytesIO

    from PIL import Image

    for file in sorted(source.iterdir()):
        image = Image.open(BytesIO(file.read_bytes())).convert("RGB")
        image.save(BytesIO(), "JPEG", quality=95, subsampling="4:4:4")


def as_row(method: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> str:
    """Return one row of the table."""
    floor, job = (median(pair[place]["cpu"] for pair in pairs) for place in (0, 1))
    cpu, wall = (median(pair[1][name] / pair[0][name] for pair in pairs) for name in ("cpu", "wall"))
    peak = max(pair[1]["peak_mb"] for pair in pairs)
    bar = f"<= {BARS.get(method, MOST)}"
    return f"| `{method}` | {floor:.1f} s | {job:.1f} s | {cpu:.1f} | {bar} | {wall:.1f} | {peak:.0f} MB |"


if __name__ == "__main__":
    main()
