"""How steady is the estimate of the square around a cell? Run `python benchmarks/cell_crop.py`.

For each laboratory, samples of its images propose the side of the square in pixels: by red cells, or by nuclei where
there are too few, as the program does (`fields.cell_crop`), and by nuclei alone. Printed are the median, the lowest and
the highest side over the samples, and the micrometers that the median is by the red cells. BCCD's images are squares of
25 um around the boxes of its leukocytes; its whole fields, which hold many more red cells, say what is right there.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hemabridge.data.listing import list_images
from hemabridge.fields.cell_crop import CELL_CROP_UM, CellSize, propose_crop_px
from hemabridge.fields.red_cells import Discs
from hemabridge.fields.site_scale import scale_of_images
from hemabridge.imaging.files import read_image
from hemabridge.sampling import evenly_spaced
from recommended_bench import BOXES, BY_EYE, write_crops

MEASURED = 300
"""Images of each laboratory, evenly spaced."""


def main() -> None:
    """Print a row for each laboratory."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--sample", type=int, default=60, help="images of one sample")
    spec = parser.parse_args()
    print(f"{'':8s} {'images':>6s}  {'by red cells or nuclei, px':28s} {'by nuclei alone, px':28s}")
    with tempfile.TemporaryDirectory() as folder:
        for name, files in _laboratories(spec.data, Path(folder)):
            sizes = [CellSize.of(read_image(files[place])) for place in evenly_spaced(len(files), MEASURED)]
            nuclei = [CellSize(each.nucleus_px, Discs.of([])) for each in sizes]
            rng = np.random.default_rng(0)
            samples = [rng.choice(len(sizes), min(spec.sample, len(sizes)), replace=False) for _ in range(spec.samples)]
            shown = [
                _spread([propose_crop_px(own[row] for row in rows) for rows in samples]) for own in (sizes, nuclei)
            ]
            print(f"{name:8s} {len(sizes):6d}  {shown[0]:28s} {shown[1]:28s}", flush=True)
    fields = spec.data / BOXES / "fields"
    scale = scale_of_images([fields / path for path in list_images(fields).images])
    assert scale is not None
    print(f"{BOXES}: {CELL_CROP_UM} um are {CELL_CROP_UM / scale.um_per_px:.0f} px by {scale.cells} whole fields")


def _spread(sides: list[int | None]) -> str:
    known = [side for side in sides if side is not None]
    return f"{np.median(known):.0f} ({min(known)} to {max(known)})"


def _laboratories(data: Path, work: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield each laboratory with the files of its images."""
    write_crops(data / BOXES, work)
    folders = {"clinic": data / "clinic", "tecom": data / "tecom", BY_EYE: data / BY_EYE / "unlabelled", BOXES: work}
    for name, folder in folders.items():
        yield name, [folder / path for path in list_images(folder).images]


if __name__ == "__main__":
    main()
