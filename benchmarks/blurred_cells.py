"""Are blurred cells found, and sharp ones left alone? Run `python benchmarks/blurred_cells.py`.

Single cells of four laboratories and of the simulated hospitals are measured as they came, and blurred by a Gaussian
with a standard deviation of 0.5, 0.75, 1, 1.5 and 2 micrometers. For each hospital in turn a limit on the width of the
nucleus's edge is chosen on all others: halfway, in logarithms, between the largest 99 % quantile of their cells as they
came and the smallest 5 % quantile of their cells blurred by 1 um. It is scored on the hospital that was left out. The
second table has the limit of the program. A blurred cell is told if its class is `unknown` for whatever reason.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.data.simulate import CLASSES, HOSPITALS, list_cells, render
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.fields.sharpness import MOST_EDGE_UM
from hemabridge.fields.single_cell import CellLimits, nuclei_in_middle, reason_of, seen_objects
from single_cells import CELLS, Shown, real_cells

SIGMAS_UM = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0)
BLURRED_UM = 1.0
"""Blur that must be told; the class of every other cell changes at it."""
SIMULATED_UM = 18.0
SIMULATED_PX = 160

Widths: TypeAlias = dict[tuple[str, float], NDArray[np.float64]]
"""Width of the edge of each cell by hospital and blur; infinite if the cell is `unknown` for another reason."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--most", type=int, default=10**9, help="number of cells of a laboratory's class")
    parser.add_argument("--simulated", type=int, default=12, help="number of simulated cells of a class")
    given = parser.parse_args()
    widths = measured(chain(real_cells(given.data, given.most), simulated(given.simulated)))
    places = list(dict.fromkeys(place for place, _ in widths))
    chosen = {place: limit({key: one for key, one in widths.items() if key[0] != place}) for place in places}
    _print("limit chosen on the others", widths, chosen)
    print(f"\nof all together: {limit(widths):.2f} um\n")
    _print("limit of the program", widths, dict.fromkeys(places, MOST_EDGE_UM))


def measured(cells: Iterator[Shown]) -> Widths:
    """Return the widths of the cells, as they came and blurred."""
    found: dict[tuple[str, float], list[float]] = defaultdict(list)
    for shown in cells:
        for sigma in SIGMAS_UM:
            found[shown.place, sigma].append(_width(blurred(shown, sigma)))
    return {key: np.array(widths) for key, widths in found.items()}


def blurred(shown: Shown, sigma_um: float) -> Shown:
    """Return the picture as if it were out of focus."""
    sigma = sigma_um * shown.crop_px / CELL_CROP_UM
    picture = ndimage.gaussian_filter(shown.image.astype(np.float32), (sigma, sigma, 0))
    return replace(shown, image=np.clip(picture + 0.5, 0, 255).astype(np.uint8)) if sigma else shown


def _width(shown: Shown) -> float:
    seen = seen_objects(shown.image, shown.crop_px)
    sharp = [replace(one, edge_um=0.0) for one in seen]
    return np.inf if reason_of(sharp, CellLimits()) else nuclei_in_middle(seen, CellLimits())[0].edge_um


def limit(widths: Mapping[tuple[str, float], NDArray[np.float64]]) -> float:
    """Return the limit between the cells as they came and those blurred by `BLURRED_UM`."""
    sharp, soft = (
        [one[np.isfinite(one)] for (_, own), one in widths.items() if own == sigma] for sigma in (0.0, BLURRED_UM)
    )
    highest, lowest = max(np.quantile(one, 0.99) for one in sharp), min(np.quantile(one, 0.05) for one in soft)
    return float(np.sqrt(highest * lowest))


def _print(title: str, widths: Widths, limits: dict[str, float]) -> None:
    told = " | ".join(f"{sigma:g} um" for sigma in SIGMAS_UM[1:])
    print(f"| {title} | um | cells | blurred though as they came | {told} |")
    print("| --- " * (4 + len(SIGMAS_UM[1:])) + "|")
    for place, most in limits.items():
        own = widths[place, 0.0]
        alarms = np.mean(np.isfinite(own) & (own > most))
        found = " | ".join(f"{np.mean(widths[place, sigma] > most):.3f}" for sigma in SIGMAS_UM[1:])
        print(f"| {place} | {most:.2f} | {len(own)} | {alarms:.3f} | {found} |")


def simulated(count: int) -> Iterator[Shown]:
    """Yield single cells of every simulated hospital."""
    for cell in list_cells(CLASSES, count, 5):
        for name, hospital in HOSPITALS.items():
            image = render(cell, hospital, SIMULATED_PX)
            yield Shown(name, CELLS, image, round(CELL_CROP_UM / SIMULATED_UM * SIMULATED_PX))


if __name__ == "__main__":
    main()
