"""Images a second of `standardize` and `classify` in one process and by Ray, and what 10 million cells would take.

    python benchmarks/scale.py                             1,000 JPEGs of 360 px, linear-ot and macenko
    python benchmarks/scale.py --classifier RUN-or-BUNDLE  also classify them

A job is measured whole, with the search for whole fields and the log; Ray is started before. Cells are simulated (64
different ones). Images a second depend on what else the computer does, the CPU time of one process far less.
The last column is arithmetic: 10 million times the CPU time of an image. Each process of Ray opens the model once.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from folder_speed import write_cells
from hemabridge.engines import Engine, EngineName, opened_engine
from hemabridge.models import Model, open_model
from hemabridge.workflows.classify.classify import classify
from hemabridge.workflows.standardize.standardize import standardize_with

METHODS = ("linear-ot", "macenko")
ENGINES: tuple[EngineName, ...] = ("local", "ray")
CELLS = 10_000_000
HOURS = 3600


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="number of JPEGs in the folder")
    parser.add_argument("--classifier", type=Path, help="a model that classifies")
    chosen = parser.parse_args()
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_cells(work / "in", chosen.files)
        models = [(f"`standardize`, {name}", open_model(work / f"{name}.json")) for name in METHODS]
        if chosen.classifier is not None:
            models.append(("`classify`", open_model(chosen.classifier)))
        print(f"{processors} processors, {chosen.files:,} files:")
        print(f"| job | engine | images/s | CPU time of an image | processor hours for {CELLS:,} |")
        print("| --- | --- | ---: | ---: | ---: |")
        for engine in ENGINES:
            with opened_engine(engine) as where:
                for name, model in models:
                    wall, cpu = (seconds / chosen.files for seconds in seconds_of(model, work, where))
                    costs = f"{1000 * cpu:.1f} ms | {CELLS * cpu / HOURS:.0f}" if engine == "local" else "- | -"
                    print(f"| {name} | `{engine}` | {1 / wall:.0f} | {costs} |", flush=True)


def seconds_of(model: Model, work: Path, engine: Engine) -> tuple[float, float]:
    """Return the time of one job, and the CPU time of this process, in seconds."""
    shutil.rmtree(work / "out", ignore_errors=True)
    start, cpu = time.perf_counter(), time.process_time()
    if model.kind == "classifier":
        classify(model, work / "in", work / "out", engine=engine)
    else:
        standardize_with(model, work / "in", work / "out", engine=engine)
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main()
