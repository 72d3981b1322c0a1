"""`hemabridge simulate`: writes folders of simulated hospitals with the same cells, and a sheet that compares them."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemabridge.data.manifest import make_manifest, write_manifest
from hemabridge.data.simulate import CLASSES, HOSPITALS, TARGET, Cell, Hospital, list_cells, render
from hemabridge.errors import InputError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image, write_image
from hemabridge.imaging.scale import scale_matched
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import Progress, silent
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of
from hemabridge.storage.run_folder import names_in
from hemabridge.storage.stages import Stages

TRUTH = "truth"
"""Folder of the noiseless pictures with the target hospital's appearance."""

MANIFEST = "manifest.csv"
SHEET = "sheet.png"
ORIGIN: Final = "simulation.json"
"""File in the folder that says what it is made from; a call that was stopped goes on by it."""

_ORIGIN: Final = FileKind("what `simulate` wrote", InputError, "remove its folder")
_CELLS_BESIDE = 3


@dataclass(frozen=True)
class Simulation:
    """The result of `simulate`.

    Attributes:
        manifests: the manifest of each hospital by name, and of the ground truth under `truth`.
        sheet: the picture with one cell per class and hospital.
        n_cells: number of cells; each hospital has a picture of every one.
    """

    manifests: dict[str, Path]
    sheet: Path
    n_cells: int


def simulate(
    out: Path,
    *,
    n_per_class: int,
    hospitals: Sequence[str] = tuple(HOSPITALS),
    classes: Sequence[str] = CLASSES,
    seed: int = 0,
    size_px: int = 96,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Write `OUT/<hospital>/<class>/<cell>.png`, a manifest per hospital, and `OUT/sheet.png`.

    A cell has the same file name in every hospital. `OUT/truth` holds the same cells with the target hospital's
    appearance, without sensor noise and JPEG: the exact ground truth for re-staining.

    Args:
        out: a new or empty folder, or that of an earlier call for the same cells, which then goes on.
        n_per_class: number of cells of each class.
        hospitals: names from `HOSPITALS`.
        classes: names from `CLASSES`.
        seed: of the cells.
        size_px: side of the pictures in pixels; they show 18 µm.
        progress: called with the number of pictures written and the total number.

    Raises:
        InputError: an unknown name, a number out of range, or `out` holds files of others, or other cells.
    """
    chosen = find_hospitals(hospitals)
    cells = list_cells(classes, n_per_class, seed)
    origin = {
        "hospitals": list(hospitals),
        "classes": list(classes),
        "n_per_class": n_per_class,
        "seed": seed,
        "size_px": size_px,
    }
    claim(out, origin)
    sites = [(hospital.name, hospital, True) for hospital in chosen] + [(TRUTH, HOSPITALS[TARGET], False)]
    total, done, manifests = len(sites) * len(cells), 0, {}
    for name, hospital, noise in sites:
        folder = out / name
        for cell in cells:
            path = _cell_path(folder, cell)
            if not path.is_file():
                write_image(path, render(cell, hospital, size_px, noise=noise))
            done += 1
            if progress is not None:
                progress(done, total)
        manifests[name] = _write_site(folder, name, cells, size_px)
    sheet = out / SHEET
    simulate_sheet(sheet, classes=classes, hospitals=hospitals, seed=seed, size_px=size_px)
    return Simulation(manifests, sheet, len(cells))


def simulate_stage(
    stages: Stages,
    hospital: str,
    *,
    n_per_class: int,
    classes: Sequence[str],
    seed: int,
    size_px: int,
    progress: Progress = silent,
) -> Path:
    """Simulate one hospital as the stage `simulated/HOSPITAL`; return the folder that `simulate` wrote.

    Raises:
        InputError: as for `simulate`.
    """

    def work(folder: Path) -> None:
        shutil.rmtree(folder / "cells", ignore_errors=True)  # files of an interrupted call
        simulate(
            folder / "cells",
            n_per_class=n_per_class,
            hospitals=(hospital,),
            classes=classes,
            seed=seed,
            size_px=size_px,
            progress=partial(progress, f"simulating {hospital}"),
        )

    inputs = {
        "hospital": hospital,
        "classes": list(classes),
        "size_px": size_px,
        "seed": seed,
        "n_per_class": n_per_class,
    }
    return stages.run(f"simulated/{hospital}", inputs, work) / "cells"


def simulate_sheet(
    out: Path,
    *,
    classes: Sequence[str] = CLASSES,
    hospitals: Sequence[str] = tuple(HOSPITALS),
    seed: int = 0,
    size_px: int = 96,
    cells_per_class: int = 1,
    beside: Path | None = None,
    beside_crop_px: int = 180,
) -> None:
    """Write a sheet of the same cells in several hospitals: classes in rows, hospitals in columns.

    Args:
        out: the picture to write.
        classes: names from `CLASSES`.
        hospitals: names from `HOSPITALS`.
        seed: as in `simulate`.
        size_px: side of one cell on the sheet, in pixels.
        cells_per_class: number of cells of each class; each has a row.
        beside: a folder with a folder of real cells per class; three real cells of each class are shown to the left of
            the simulated ones, and blanks for a class without real cells.
        beside_crop_px: side of the central square of a real picture that shows 18 µm.

    Raises:
        InputError: an unknown name, a number out of range, or `beside` has none of the classes.
        ImageError: a real picture cannot be read.
    """
    chosen = find_hospitals(hospitals)
    cells = list_cells(classes, cells_per_class, seed)
    rows = [[render(cell, hospital, size_px) for hospital in chosen] for cell in cells]
    columns = [hospital.name for hospital in chosen]
    if beside is not None:
        real = _real_rows(beside, cells, beside_crop_px, size_px)
        rows = [[*left, *right] for left, right in zip(real, rows, strict=True)]
        columns = ["real", *[""] * (_CELLS_BESIDE - 1), *columns]
    write_image(out, draw_sheet(rows, [cell.class_name for cell in cells], columns))


def find_hospitals(names: Sequence[str]) -> list[Hospital]:
    """Return the hospitals of these names.

    Raises:
        InputError: no name, or an unknown or repeated one.
    """
    if not names or len(set(names)) != len(names) or not set(names) <= set(HOSPITALS):
        raise InputError(
            f"expected different hospitals out of {', '.join(HOSPITALS)}; got {', '.join(names) or 'none'}"
        )
    return [HOSPITALS[name] for name in names]


def claim(out: Path, origin: dict[str, Any]) -> None:
    """Write down what a folder is made from before all else, or make sure that it is the same."""
    path = out / ORIGIN
    if path.is_file():
        if _ORIGIN.read_object(path) != origin:
            raise InputError(
                f"expected the same hospitals, classes, cells, seed and size as before to go on in {out}, got others; "
                "name another folder, or remove that one"
            )
        return
    if out.exists() and (not out.is_dir() or names_in(out)):
        raise InputError(f"expected a new or empty folder to write to, but {out} is not; name another or empty it")
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _cell_path(folder: Path, cell: Cell) -> Path:
    return folder / cell.class_name / f"{cell.cell_id}.png"


def _write_site(folder: Path, site: str, cells: Sequence[Cell], size_px: int) -> Path:
    files = [_cell_path(folder, cell) for cell in cells]
    columns: dict[str, Sequence[str | int]] = {
        "path": [file.relative_to(folder).as_posix() for file in files],
        "site": [site] * len(cells),
        "class": [cell.class_name for cell in cells],
        "sha256": [sha256_of(file) for file in files],
        **dict.fromkeys(("width", "height", "crop_px"), [size_px] * len(cells)),
    }
    path = folder / MANIFEST
    write_manifest(make_manifest(columns, folder, where=str(path)), path)
    return path


def _real_rows(folder: Path, cells: Sequence[Cell], crop_px: int, size_px: int) -> list[list[UInt8Image]]:
    blank = np.full((size_px, size_px, 3), 255, dtype=np.uint8)
    rows, found = [], False
    for cell in cells:
        inside = folder / cell.class_name
        files = sorted(file for file in inside.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        first = cell.index * _CELLS_BESIDE
        real = [scale_matched(read_image(file), crop_px, size_px) for file in files[first : first + _CELLS_BESIDE]]
        found = found or bool(real)
        rows.append(real + [blank] * (_CELLS_BESIDE - len(real)))
    if not found:
        names = ", ".join(dict.fromkeys(cell.class_name for cell in cells))
        raise InputError(f"expected folders of real cells named {names} in {folder}, found none with images")
    return rows
