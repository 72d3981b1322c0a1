"""Dice of the nucleus and of the whole cell against the expert masks of the Tecom laboratory, per class.

The constants of `hemabridge.imaging.compartments` were chosen with these masks in view: what is printed says how well
the method can fit this laboratory, not how well it does on one never seen.

Masks: Zheng et al. (2018), Micron 107, 55-71, doi:10.1016/j.micron.2018.01.010; nucleus 255, cytoplasm 128, rest 0.

    python benchmarks/nucleus_dice.py --data ../shared/data
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.compartments import segment
from hemabridge.imaging.files import read_image

NUCLEUS_GRAY, CYTOPLASM_GRAY = 255, 128


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return 2 |A and B| / (|A| + |B|), 0..1; 1 where both are empty (Dice 1945, doi:10.2307/1932409)."""
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else 1.0


def measure(tecom: Path) -> dict[str, NDArray[np.float64]]:
    """Return per class the Dice values float64[n, 2] of nucleus and whole cell of every image that has a mask."""
    measured: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(tecom.glob("[!_]*/*.bmp")):
        truth = read_image(tecom / "_masks" / f"{path.stem}.png")[..., 0]
        found = segment(read_image(path))
        pair = (dice(found.nucleus, truth == NUCLEUS_GRAY), dice(found.cell, truth >= CYTOPLASM_GRAY))
        measured.setdefault(path.parent.name, []).append(pair)
    return {name: np.array(pairs) for name, pairs in measured.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds tecom/")
    measured = measure(parser.parse_args().data / "tecom")
    if not measured:
        parser.error("expected images in DATA/tecom/<class>/*.bmp, found none; check --data")
    print("class        n    nucleus Dice: median (quartiles)    cell Dice: median (quartiles)")
    for name, values in {**measured, "all": np.concatenate(list(measured.values()))}.items():
        low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
        columns = [f"{middle[i]:.3f} ({low[i]:.3f} to {high[i]:.3f})" for i in range(2)]
        print(f"{name:11s} {len(values):3d}    {columns[0]:>32s}    {columns[1]:>29s}")


if __name__ == "__main__":
    main()
