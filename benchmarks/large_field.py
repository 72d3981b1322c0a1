"""Time and memory of a search for leukocytes: `python benchmarks/large_field.py`.

Finds and cuts the cells of a simulated field of 640 x 480 pixels, and of the same field repeated to 98 megapixels, as a
tiled TIFF file and as JPEG. Prints the processor time of each, without writing, and the largest memory of a process of
its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from hemabridge.data.simulate import HOSPITALS, FieldSpec, paint_field, photograph_field, plan_field
from hemabridge.fields.find_cells import checked_scale, cut_cell, find_cells_at
from hemabridge.fields.open_field import open_field

UM_PER_PX = 0.1
REPEATS = 5
ROWS, COLUMNS = 20, 16


def search(path: Path) -> tuple[float, int]:
    """Return the processor seconds from the open file to the last crop, and the number of leukocytes."""
    with open_field(path) as field:
        begun = time.process_time()
        found = find_cells_at(field.pixels, checked_scale(field)[0])
        for cell in found.leukocytes:
            cut_cell(field.pixels, cell, found.crop_px())
        return time.process_time() - begun, len(found.leukocytes)


def _measure(path: Path) -> None:
    repeats = REPEATS if path.suffix == ".png" else 1
    begun = time.process_time()
    seconds, cells = sorted(search(path) for _ in range(repeats))[repeats // 2]
    whole = (time.process_time() - begun) / repeats
    status = Path("/proc/self/status").read_text()  # the largest memory since this program began (Linux)
    megabytes = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    with open_field(path) as field:
        height, width = field.pixels.shape[:2]
    spent = f"{1000 * seconds:,.0f} | {1000 * whole:,.0f}"
    print(f"| {path.name}, {width} x {height} | {cells} | {spent} | {megabytes:,.0f} |")


def main() -> None:
    """Print the table, each row by a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        _measure(given.measure)
        return
    spec = FieldSpec(seed=3, width_px=640, height_px=480, um_per_px=UM_PER_PX, areas=("monolayer",))
    small = photograph_field(paint_field(plan_field(spec, 0)), HOSPITALS["clinic-like"])
    large = np.tile(small, (ROWS, COLUMNS, 1))
    print("| field | leukocytes | found and cut, ms | with decoding, ms | memory, MB |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(small).save(folder / "field.png")
        tifffile.imwrite(folder / "tiled.tif", large, tile=(512, 512), photometric="rgb", compression="zlib")
        Image.fromarray(large).save(folder / "large.jpg", quality=90)
        del large
        for file in ("field.png", "tiled.tif", "large.jpg"):
            subprocess.run([sys.executable, __file__, "--measure", str(folder / file)], check=True)


if __name__ == "__main__":
    main()
