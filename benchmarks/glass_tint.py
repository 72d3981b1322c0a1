"""How much color do honest re-stainings put on empty glass, and does the guard find blotches that were planted there?

    python benchmarks/glass_tint.py --data ../shared/data
    python benchmarks/glass_tint.py --snapshot runs/film/snapshots/epoch-0010.safetensors --site tecom

Real cells of one hospital at 96 px, in three parts which share no cell. The second and third part are restyled as
random hospitals (`hemabridge restyle`). Each normalizer is fitted from the restyled second part to the first, and
re-stains the restyled third. Printed of each: the tint of the glass (`hemabridge.metrics.glass_tint`), and the share
of cells beyond the guard's limit, which comes from this table.

Then blotches of pink and yellow (`planters.py`) are planted into the glass of the third part's original cells. Printed:
the share that the strictest limits of the guard refuse, without the measure of the glass and with it.

With --snapshot, the tint that a trained translator gives to a site's cells is printed instead.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.simulate.hospitals import random_hospital
from hemabridge.data.simulate.restyle import measured_reference, photograph
from hemabridge.guard.morphology import compare
from hemabridge.guard.thresholds import floors
from hemabridge.guard.verdict import verdicts_of
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.glass_tint import TINTED, glass_tints
from hemabridge.models.open import open_model
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from planted_changes import SITES, read_cells
from planters import blotched_glass

HOME = "clinic"
CHROMAS = (5.0, 10.0, 15.0, 20.0, 30.0)
ESTIMATING_DYES = ("macenko", "vahadane")
"""Normalizers whose estimate of two dyes can give glass a color of its own."""
ROW = "{:28s} {:>6s} {:>6s} {:>6s} {:>7s}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds a folder per site")
    parser.add_argument("--cells", type=int, default=300, help="at most so many cells of a site")
    parser.add_argument("--hospitals", type=int, default=8, help="random hospitals")
    parser.add_argument("--snapshot", type=Path, help="a translator: print the tint that it gives instead")
    parser.add_argument("--site", choices=SITES, default="tecom", help="the site that --snapshot re-stains")
    spec = parser.parse_args()
    if spec.snapshot is not None:
        cells = read_cells(spec.data / spec.site, SITES[spec.site], spec.cells)
        print_header()
        print_row(spec.snapshot.stem, glass_tints(cells, open_model(spec.snapshot).standardize(cells)))
        return
    cells = read_cells(spec.data / HOME, SITES[HOME], spec.cells)
    honest(cells, spec.hospitals)
    planted(cells[2::3])


def honest(cells: UInt8Images, hospitals: int) -> None:
    """Print the tint by each normalizer, over all hospitals."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in NORMALIZERS}
    reference = measured_reference(cells)
    for seed in range(hospitals):
        restyled = photograph(cells, random_hospital(np.random.default_rng(seed)), reference=reference)
        for name in NORMALIZERS:
            normalizer = fit_on_cells(name, restyled[1::3], cells[0::3])
            found[name].append(glass_tints(restyled[2::3], normalizer.standardize(restyled[2::3])))
    print(f"held-out cells of {HOME}, restyled as {hospitals} random hospitals and re-stained back")
    print_header()
    for name, tints in found.items():
        print_row(name, np.concatenate(tints))
    maps = [tint for name, tints in found.items() for tint in tints if name not in ESTIMATING_DYES]
    print_row(f"all but {', '.join(ESTIMATING_DYES)}", np.concatenate(maps))


def planted(cells: UInt8Images) -> None:
    """Print how many cells with planted blotches the guard refuses, and for the other measures alone."""
    print(f"\nblotches of pink and yellow on the glass of {len(cells)} cells of {HOME}: refused")
    print(f"{'chroma':>7s} {'by all other measures':>22s} {'with the glass':>15s}")
    for chroma in CHROMAS:
        rng = np.random.default_rng(1)
        drawn = [blotched_glass(image, segment(image), rng, chroma=chroma) for image in cells]
        pairs = [(own, other) for own, other in zip(cells, drawn, strict=True) if other is not None]
        before, after = (np.stack(side) for side in zip(*pairs, strict=True))
        found = compare(before, after)
        others = replace(found, glass_tint=np.zeros(len(found)))
        shares = [verdicts_of(morphology, floors()).count("refuse") / len(found) for morphology in (others, found)]
        print(f"{chroma:7.0f} {shares[0]:22.1%} {shares[1]:15.1%}", flush=True)


def print_header() -> None:
    """Print the names of the columns."""
    print(ROW.format("re-stained by", "median", "99 %", "most", "beyond"))


def print_row(name: str, tints: NDArray[np.float64]) -> None:
    """Print one line."""
    figures = [f"{value:.1f}" for value in np.quantile(tints, (0.5, 0.99, 1))]
    print(ROW.format(name, *figures, f"{np.mean(tints > TINTED):.1%}"), flush=True)


if __name__ == "__main__":
    main()
