"""Speed and peak memory of each step of the work, as a Markdown table; each row runs in a process of its own.

    python benchmarks/speed.py            the rows that need seconds
    python benchmarks/speed.py --paper    also a training step of the paper's CycleGAN: about a minute on two cores

`speed_pairs.py` compares with PyTorch and other packages, `folder_speed.py` and `folder_memory.py` measure folders.
A figure is processor time, that of all cores: what else the computer does adds less to it than to the time of the
clock. Images are simulated and weights are random: speed depends on neither.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemabridge.imaging.standardizer import UInt8Images

# Only light imports here: a child counts what its parent held when it was started as its own peak.
REPEATS = 5


def main() -> None:
    """Print the table, or measure one row and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="also six training steps of the paper's CycleGAN")
    parser.add_argument("--row", choices=ROWS, help="measure this row alone, in this process, and print JSON")
    chosen = parser.parse_args()
    if chosen.row is not None:
        seconds = ROWS[chosen.row]()
        who = resource.RUSAGE_CHILDREN if chosen.row in STARTS else resource.RUSAGE_SELF
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(who)}))
        return
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}\n"
    )
    print("| what | CPU time of each | bar | images a CPU second | peak memory |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ROWS:
        if name != PAPER_STEP or chosen.paper:
            print(as_row(name, measure_apart(name)), flush=True)


def measure_apart(name: str) -> dict[str, float]:
    """Measure a row in a new process: CPU `seconds` for one image or step, `peak_mb` of resident memory."""
    done = subprocess.run([sys.executable, __file__, "--row", name], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def as_row(name: str, found: dict[str, float]) -> str:
    """Return a row of the table; the start of the program has no images."""
    seconds = found["seconds"]
    each = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    rate = "" if name in STARTS else f"{1 / seconds:.3g}"
    return f"| {name} | {each} | {BARS.get(name, '')} | {rate} | {found['peak_mb']:.0f} MB |"


def peak_mb(who: int) -> float:
    """Return the peak of resident memory of this process or of its finished children, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # the system's own: bytes there, kibibytes on Linux
    return resource.getrusage(who).ru_maxrss * unit / 1e6


def seconds_each(work: Callable[[], object], count: int = 1) -> float:
    """Return the median CPU seconds of `work` over `REPEATS` runs after one to warm up, divided by `count`."""
    work()
    taken = []
    for _ in range(REPEATS):
        started = cpu_seconds()
        work()
        taken.append(cpu_seconds() - started)
    return median(taken) / count


def cpu_seconds() -> float:
    """Return the processor time of this process and its finished children so far."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def start_program() -> float:
    """CPU seconds of `hemabridge --help`, process and all."""
    with tempfile.TemporaryDirectory() as compiled:
        return seconds_each(lambda: run_program(compiled, "--help"))


def standardize_one() -> float:
    """CPU seconds of `hemabridge standardize` on one JPEG of 360 px by a fitted normalizer, process and all."""
    from folder_speed import write_cells

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_cells(work / "in", 1)
        outs = (str(work / f"out-{number}") for number in range(REPEATS + 1))
        arguments = (folder, "standardize", str(work / "linear-ot.json"), str(work / "in"))
        return seconds_each(lambda: run_program(*arguments, next(outs)))


def run_program(compiled: str, *arguments: str) -> None:
    """Run `hemabridge` as one that is installed: its bytecode is kept in a folder, whatever this shell says of it."""
    program = [sys.executable, "-c", "from hemabridge.cli import main; main()", *arguments]
    kept = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(program, check=True, capture_output=True, env=os.environ | kept)


def read_and_segment() -> float:
    """CPU seconds to read a JPEG of 360 px and find nucleus, cytoplasm and red cells."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells
    from hemabridge.imaging.compartments import segment
    from hemabridge.imaging.files import read_image, write_image

    with tempfile.TemporaryDirectory() as folder:
        images, _ = simulate_cells(CLASSES, 2, HOSPITALS["clinic-like"], 0, 360)
        files = [Path(folder, f"{number}.jpg") for number in range(len(images))]
        for file, image in zip(files, images, strict=True):
            write_image(file, image)
        return seconds_each(lambda: [segment(read_image(file)) for file in files], len(files))


def simulate() -> float:
    """CPU seconds to render a simulated cell at 96 px."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells

    return seconds_each(lambda: simulate_cells(CLASSES, 4, HOSPITALS["yellow-field"], 0, 96), 4 * len(CLASSES))


def restain(preset: str, count: int, size_px: int | None = None) -> float:
    """CPU seconds to re-stain an image of a size, that of the preset if None, `count` at a time."""
    from hemabridge.translators.catalog import new_restainer
    from hemabridge.translators.neural import NeuralStandardizer
    from hemabridge.translators.presets import PRESETS

    config = PRESETS[preset].config
    standardizer = NeuralStandardizer(new_restainer(config.model))
    images = _simulated(size_px or config.crop_px, count)
    return seconds_each(lambda: standardizer.standardize(images), len(images))


def normalize(name: str, size_px: int = 96) -> float:
    """CPU seconds to re-stain an image by a closed form."""
    from hemabridge.normalizers.catalog import fit_on_cells

    images = _simulated(size_px, 32)
    normalizer = fit_on_cells(name, images, images[::-1])
    return seconds_each(lambda: normalizer.standardize(images), len(images))


def normalize_photograph(name: str) -> float:
    """CPU seconds to re-stain one photograph of 24 megapixels, once."""
    import numpy as np

    from hemabridge.normalizers.catalog import fit_on_cells
    from hemabridge.normalizers.normalizer import CellScale

    cells = _simulated(96, 32)
    normalizer = fit_on_cells(name, cells, cells[::-1]).of_photographs(CellScale(source_crop_px=96, size_px=96))
    photograph = np.tile(cells[0], (42, 63, 1))[None, :4000, :6000]
    started = cpu_seconds()
    normalizer.standardize(photograph)
    return cpu_seconds() - started


def guard() -> float:
    """CPU seconds to check the morphology of a re-stained cell of 96 px."""
    from hemabridge.guard.morphology import compare

    images = _simulated(96, 8)
    return seconds_each(lambda: compare(images, 255 - (255 - images) // 2), len(images))


def classify_cell() -> float:
    """CPU seconds to classify a cell of 64 px by one classifier of the recommended recipe."""
    from hemabridge.classifiers.classifier import NetworkClassifier
    from hemabridge.classifiers.config import ClassifierConfig
    from hemabridge.classifiers.network import new_network, preprocessing_of

    architecture, size_px, classes = "mobilenetv2_100", 64, ("a", "b", "c", "d")
    seen = preprocessing_of(ClassifierConfig(architecture=architecture, size_px=size_px))
    network = new_network(architecture, size_px, len(classes), "batch")
    classifier = NetworkClassifier(network, seen, classes, architecture)
    images = _simulated(size_px, 32)
    return seconds_each(lambda: classifier.probabilities(images), len(images))


def train_step(preset: str) -> float:
    """CPU seconds of a training step: one image of each site, both generators and both discriminators."""
    import torch

    from hemabridge.training.engine import Engine
    from hemabridge.training.run_context import start_fabric
    from hemabridge.training.schedules import Constant
    from hemabridge.translators.cyclegan import CycleGan
    from hemabridge.translators.presets import PRESETS

    config = PRESETS[preset].config
    model = CycleGan(config.model)
    schedules = dict.fromkeys(model.nets, Constant(config.learning_rate))
    engine = Engine(start_fabric("cpu"), model, config.optimizer, schedules)
    side = config.crop_px // config.stride
    batch = {site: torch.rand((config.batch_size, 3, side, side)) * 2 - 1 for site in ("source", "target")}
    return seconds_each(lambda: engine.step(batch, 0), config.batch_size)


def _simulated(size_px: int, count: int) -> "UInt8Images":
    """Return `count` simulated cells, uint8[N, S, S, 3]."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells

    return simulate_cells(CLASSES, -(-count // len(CLASSES)), HOSPITALS["yellow-field"], 0, size_px)[0][:count]


HELP = "`hemabridge --help`"
ONE_IMAGE = "`hemabridge standardize` of one image, without PyTorch"
STARTS = (HELP, ONE_IMAGE)
SEGMENT = "read a 360 px JPEG and segment it"
GUARD = "check the morphology of a cell, 96 px"
BARS = {ONE_IMAGE: "<= 0.7 s", SEGMENT: "<= 5 ms", GUARD: "<= 5 ms"}
PAPER_STEP = "training step, `paper-cyclegan`, 256 px"
ROWS: dict[str, Callable[[], float]] = {
    HELP: start_program,
    ONE_IMAGE: standardize_one,
    SEGMENT: read_and_segment,
    "simulate a cell, 96 px": simulate,
    "re-stain, `linear-ot`, 96 px": lambda: normalize("linear-ot"),
    "re-stain, `sliced-ot`, 96 px": lambda: normalize("sliced-ot"),
    "re-stain, `macenko`, photograph of 24 megapixels": lambda: normalize_photograph("macenko"),
    "re-stain, `sliced-ot`, photograph of 24 megapixels": lambda: normalize_photograph("sliced-ot"),
    "re-stain, `reinhard-site`, photograph of 24 megapixels": lambda: normalize_photograph("reinhard-site"),
    "re-stain, `sliced-ot`, 256 px": lambda: normalize("sliced-ot", 256),
    "re-stain, `film`, 256 px": lambda: restain("film", 8, 256),
    "re-stain, `bilateral`, 256 px": lambda: restain("bilateral", 8, 256),
    "re-stain, `film`, 96 px": lambda: restain("film", 32),
    "re-stain, `bilateral`, 96 px": lambda: restain("bilateral", 32),
    "re-stain, `cyclegan-cpu`, 96 px": lambda: restain("cyclegan-cpu", 32),
    "re-stain, `paper-cyclegan`, 256 px": lambda: restain("paper-cyclegan", 2),
    GUARD: guard,
    "classify a cell, MobileNetV2, 64 px": classify_cell,
    "training step, `film`, 96 px": lambda: train_step("film"),
    "training step, `cyclegan-demo`, 64 px": lambda: train_step("cyclegan-demo"),
    "training step, `cyclegan-cpu`, 96 px": lambda: train_step("cyclegan-cpu"),
    PAPER_STEP: lambda: train_step("paper-cyclegan"),
}


if __name__ == "__main__":
    main()
