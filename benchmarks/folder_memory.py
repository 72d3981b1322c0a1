"""Memory of `standardize` on folders of 10 to 10,000 files, and threads against processes, as two Markdown tables.

    python benchmarks/folder_memory.py
    python benchmarks/folder_memory.py --most 1000 --files 200

Each run is a process of its own. The files of the first table are links to 64 simulated cells of 96 px; those of the
second one are simulated cells of 360 px. The method is `linear-ot`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from folder_speed import write_cells

METHOD = "linear-ot.json"
COUNTS = (10, 100, 1000, 10_000)
SMALL_PX = 96
MAIN_ONLY, TWO_THREADS, TWO_PROCESSES = "one thread", "two threads", "two processes of one thread"


def main() -> None:
    """Print both tables, or do one run and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="largest number of files of the first table")
    parser.add_argument("--files", type=int, default=1000, help="number of files of the second table")
    parser.add_argument("--run", nargs=4, metavar=("MODEL", "IN", "OUT", "THREADS"), help="do one run in this process")
    chosen = parser.parse_args()
    if chosen.run is not None:
        model, source, out, threads = chosen.run
        print(json.dumps(measured(Path(model), Path(source), Path(out), int(threads))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print_memory(Path(folder), [count for count in COUNTS if count <= chosen.most])
    with tempfile.TemporaryDirectory() as folder:
        print_ways(Path(folder), chosen.files)


def print_memory(work: Path, counts: Sequence[int]) -> None:
    """Print peak memory by the number of files."""
    write_cells(work / "cells", min(64, max(counts)), SMALL_PX)
    cells = sorted((work / "cells").iterdir())
    print("| files | peak memory | CPU of each |\n| ---: | ---: | ---: |")
    for count in counts:
        source = linked(work / f"in-{count}", cells, count)
        found = ended(started(work / METHOD, source, work / f"out-{count}", 2))
        print(f"| {count:,} | {found['peak_mb']:.0f} MB | {1000 * found['cpu'] / count:.1f} ms |", flush=True)


def print_ways(work: Path, count: int) -> None:
    """Print CPU and wall time with one thread, with two, and with two processes that do half of the files each."""
    write_cells(work / "cells", count)
    cells = sorted((work / "cells").iterdir())
    folders = [linked(work / f"in-{place}", cells[place::2], len(cells[place::2])) for place in (0, 1)]
    runs = {
        MAIN_ONLY: [(work / "cells", 1)],
        TWO_THREADS: [(work / "cells", 2)],
        TWO_PROCESSES: [(source, 1) for source in folders],
    }
    print(f"\n| {count:,} files by | CPU | wall | peak memory |\n| --- | ---: | ---: | ---: |")
    for number, (name, parts) in enumerate(runs.items()):
        running = [
            started(work / METHOD, source, work / f"out-{number}-{place}", threads)
            for place, (source, threads) in enumerate(parts)
        ]
        found = [ended(one) for one in running]
        cpu, peak = (sum(one[key] for one in found) for key in ("cpu", "peak_mb"))
        wall = max(one["wall"] for one in found)
        print(f"| {name} | {cpu:.1f} s | {wall:.1f} s | {peak:.0f} MB |", flush=True)


def linked(folder: Path, cells: Sequence[Path], count: int) -> Path:
    """Return a new folder with so many files, each a link to one of the cells."""
    folder.mkdir()
    for number in range(count):
        os.link(cells[number % len(cells)], folder / f"{number:06d}.jpg")
    return folder


def started(model: Path, source: Path, out: Path, threads: int) -> "subprocess.Popen[str]":
    """Start one run in a new process."""
    command = [sys.executable, __file__, "--run", str(model), str(source), str(out), str(threads)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(running: "subprocess.Popen[str]") -> dict[str, float]:
    """Return the figures of a run when it has ended."""
    told, _ = running.communicate()
    if running.returncode != 0:
        raise SystemExit(f"expected a run that ends well, got exit code {running.returncode}")
    found: dict[str, float] = json.loads(told)
    return found


class Threads:
    """An engine of so many threads, whatever the job asks for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def in_order(
        self, work: Callable, make: object, items: Sequence, threads: int = 1, task_items: int = 1
    ) -> Iterator:
        """Yield `work` of each item, in their order."""
        from hemabridge.imaging.threads import in_order

        return in_order(work, items, self.count)


def measured(model: Path, source: Path, out: Path, threads: int) -> dict[str, float]:
    """Do one run and return its CPU and wall seconds and its peak memory in megabytes."""
    from hemabridge.models import open_model
    from hemabridge.workflows.standardize.standardize import standardize_with

    wall, cpu = time.perf_counter(), time.process_time()
    done = standardize_with(open_model(model), source, out, engine=Threads(threads))
    if done.count("restained") != len(done.rows):
        raise SystemExit(f"expected {len(done.rows)} re-stained files, got {done.count('restained')}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak_mb": peak_mb}


if __name__ == "__main__":
    main()
