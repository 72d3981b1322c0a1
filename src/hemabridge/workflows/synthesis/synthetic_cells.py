"""Synthetic cells on disk: images that state their origin, and their manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import make_manifest, write_manifest
from hemabridge.imaging.provenance import SyntheticOrigin, write_synthetic
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.model import Model
from hemabridge.recipes.sites import Site
from hemabridge.storage.files import sha256_of
from hemabridge.synthesis.pair_results import Direction
from hemabridge.workflows.study.restained import picture_names, read_images

MANIFEST: Final = "manifest.csv"
_BACK: Final[dict[Direction, Direction]] = {"to_target": "to_source", "to_source": "to_target"}
_SYNTHETIC, _RECONSTRUCTED = "synthetic.npy", "reconstructed.npy"


@dataclass(frozen=True, eq=False)
class SyntheticCells:
    """Real held-out cells, their translations, and these translated back by the other generator.

    Attributes:
        sources: the real cells.
        synthetic: uint8[N, S, S, 3], in the order of the sources.
        reconstructed: uint8[N, S, S, 3], the synthetic cells translated back to the class of the sources.
    """

    sources: CellSet
    synthetic: UInt8Images
    reconstructed: UInt8Images


def there_and_back(model: Model, direction: Direction, images: UInt8Images) -> tuple[UInt8Images, UInt8Images]:
    """Return translated cells, and the same cells translated back."""
    synthetic = model.cell_standardizer(direction).standardize(images)
    return synthetic, model.cell_standardizer(_BACK[direction]).standardize(synthetic)


def make_cells(
    model: Model, direction: Direction, sources: CellSet, intended: str, site: Site, recipe: str, folder: Path
) -> None:
    """Write the synthetic cells of one direction as PNG files and `manifest.csv` into a folder.

    Each file states the hashes of the model and of its source. Patient and slide in the manifest are the source's.
    """
    synthetic, reconstructed = there_and_back(model, direction, sources.images)
    np.save(folder / _SYNTHETIC, synthetic, allow_pickle=False)
    np.save(folder / _RECONSTRUCTED, reconstructed, allow_pickle=False)
    origins = [SyntheticOrigin(model.sha256, source, recipe) for source in sources.hashes]
    names = [name.replace("/", "__") for name in picture_names(sources.ids)]
    for name, image, origin in zip(names, synthetic, origins, strict=True):
        write_synthetic(folder / name, image, origin)
    rows = {row["path"]: row for row in site.manifest.select(pl.col("path").is_in(sources.ids)).table.to_dicts()}
    size = [synthetic.shape[1]] * len(names)
    columns = {
        "path": names,
        "site": [site.name] * len(names),
        "class": [intended] * len(names),
        "patient": [rows[name]["patient"] for name in sources.ids],
        "slide": [rows[name]["slide"] for name in sources.ids],
        "sha256": [sha256_of(folder / name) for name in names],
        "width": size,
        "height": size,
        "crop_px": size,
        "origin": [origin.as_text() for origin in origins],
    }
    write_manifest(make_manifest(columns, folder), folder / MANIFEST)


def read_cells(folder: Path, sources: CellSet) -> SyntheticCells:
    """Read the cells that `make_cells` wrote for the same sources.

    Raises:
        RunError: a file is damaged, or holds other cells.
    """
    found = (read_images(folder / name, len(sources)) for name in (_SYNTHETIC, _RECONSTRUCTED))
    return SyntheticCells(sources, *found)
