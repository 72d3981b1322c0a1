"""What a model's file means to `hemabridge standardize`: which snapshot, at which scale, for which site.

What only snapshots need of PyTorch is imported where it is used: a normalizer's JSON works without it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from hemabridge.data.listing import files_below
from hemabridge.data.sampling import evenly_spaced
from hemabridge.domain.site_profile import Distance
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image
from hemabridge.imaging.rescaled import RescaledStandardizer, SqueezedStandardizer
from hemabridge.imaging.scale import CropPx, CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models.selection_file import FILE, Selection
from hemabridge.normalizers.catalog import read_normalizer
from hemabridge.storage.files import sha256_of

if TYPE_CHECKING:
    from hemabridge.training.snapshots import Snapshot

DESCRIPTOR_IMAGES: Final = 100
"""So many cells tell a site's look."""

View: TypeAlias = Callable[[UInt8Images], UInt8Images]
"""Cuts cells out of images: uint8[N, H, W, 3] to uint8[N, S, S, 3]."""


def find_snapshot(model: Path, name: str | None = None) -> Path:
    """Return the snapshot that a path means: itself, or of a run folder the named, the selected or the last one.

    Raises:
        ModelError: there is none, or `hemabridge select` found that none can be used, or chose one that has changed.
        InputError: `selection.json` is damaged.
    """
    if model.is_file():
        return model
    from hemabridge.training.snapshots import list_snapshots

    folder = next((f for f in (model, model / "translator") if (f / "snapshots").is_dir()), None)
    snapshots = [] if folder is None else list_snapshots(folder)
    if not snapshots:
        raise ModelError(f"expected a snapshot or a run folder with snapshots, got none at {model}")
    selection = None if name is not None else read_selection(model)
    if selection is not None:
        return _selected(selection, snapshots, model)
    if name is None:
        return snapshots[-1].path
    named = [snapshot.path for snapshot in snapshots if snapshot.name == name]
    if not named:
        raise ModelError(f"expected one of the snapshots {', '.join(s.name for s in snapshots)}, got {name!r}")
    return named[0]


def read_selection(model: Path) -> Selection | None:
    """Return what `hemabridge select` found for a run folder; None where it was not asked.

    Raises:
        InputError: `selection.json` is damaged.
    """
    path = model / FILE
    return Selection.read(path) if path.is_file() else None


def _selected(selection: Selection, snapshots: "Sequence[Snapshot]", model: Path) -> Path:
    if selection.chosen is None:
        raise ModelError(
            f"expected a run of which a snapshot can be used; {model / FILE} says: {selection.reasons} "
            "To use one all the same, name it with --snapshot"
        )
    chosen = next((s.path for s in snapshots if s.name == selection.chosen), None)
    if chosen is None or sha256_of(chosen) != selection.row(selection.chosen).sha256:
        raise ModelError(
            f"expected the snapshot {selection.chosen} that was selected, got {'another' if chosen else 'none'} in "
            f"{model}: run `hemabridge select` again, or name a snapshot"
        )
    return chosen


def load_standardizer(path: Path, crop_px: int | None = None, look: UInt8Images | None = None) -> Standardizer:
    """Return the re-stainer of a file for images as large as they come.

    Args:
        path: the snapshot of a translator, or the JSON file of a normalizer.
        crop_px: as in `standardize`; normalizers know no scale.
        look: cells of a site, as `read_appearance` reads them, for a target-only model; as it was trained if not given.

    Raises:
        ModelError: the file is neither, or damaged; or a translator got a `look` and is not target-only.
    """
    if path.suffix.lower() == ".json":
        return read_normalizer(path)
    from hemabridge.networks.config import STRIDE
    from hemabridge.translators.neural import NeuralStandardizer
    from hemabridge.translators.unseen_site import standardizer_for

    seen_px, square = _scale_of(path, crop_px)
    translator = NeuralStandardizer.from_snapshot(path) if look is None else standardizer_for(path, look)
    if square == "whole":
        return SqueezedStandardizer(translator, seen_px)
    # A generator halves the sides twice and then needs two pixels of each.
    return RescaledStandardizer(translator, seen_px / square, STRIDE + 1)


def cell_view(path: Path, crop_px: int | None = None, site: Literal["source", "target"] = "source") -> View | None:
    """Return what cuts the cell out of an image, as large as the model of a snapshot sees cells.

    None for a normalizer, which knows no scale.

    Raises:
        ModelError: the file is damaged, or no model's.
    """
    if path.suffix.lower() == ".json":
        return None
    seen_px, square = _scale_of(path, crop_px, site)
    return CropSpec(square, seen_px).cut_all


def _scale_of(path: Path, crop_px: int | None, site: Literal["source", "target"] = "source") -> tuple[int, CropPx]:
    """Return a cell's side as a snapshot's model saw it, and the square of a site's images that holds it."""
    from hemabridge.training.tensorfile import read_header
    from hemabridge.translators.config import TranslatorConfig
    from hemabridge.translators.neural import KIND

    header = read_header(path)
    if header.get("kind") != KIND:
        raise ModelError(f"expected the snapshot of a translator, got that of a {header.get('kind')}: {path}")
    try:
        seen_px = TranslatorConfig.model_validate(header["config"]).crop_px
        square = crop_px or header[f"{site}_crop_px"]
        if square == "whole":
            return seen_px, "whole"
        if int(square) < 1:
            raise ValueError(f"a square of {square} px")
        return seen_px, int(square)
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(f"expected the whole snapshot of a translator, got a damaged one: {path} ({error})") from error


def read_appearance(path: Path, site: Path, crop_px: int | None = None) -> UInt8Images:
    """Read up to `DESCRIPTOR_IMAGES` cells of a folder, spread over all of it, as large as the model saw cells.

    Raises:
        InputError: the folder holds no readable image.
        ModelError: `path` is a normalizer, or not the whole snapshot of a translator.
    """
    if path.suffix.lower() == ".json":
        raise ModelError(f"expected a target-only model to re-stain by a site's look, got a normalizer: {path}")
    files = sorted(files_below(site)) if site.is_dir() else []
    return read_cells(path, [site / name for name in files], crop_px)


def read_cells(path: Path, files: Sequence[Path], crop_px: int | None = None) -> UInt8Images:
    """Read up to `DESCRIPTOR_IMAGES` of some files, spread over all of them, as large as a snapshot's model saw cells.

    Raises:
        InputError: none is a readable image.
        ModelError: `path` is not the whole snapshot of a translator.
    """
    seen_px, square = _scale_of(path, crop_px)
    wanted = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    some = [wanted[place] for place in evenly_spaced(len(wanted), DESCRIPTOR_IMAGES)]
    spec, cells = CropSpec(square, seen_px), []
    for file in some:
        try:
            image = read_image(file)
        except ImageError:
            continue  # each unreadable file gets its row when it is re-stained
        cells.append(spec.cut(image))
    if not cells:
        raise InputError(f"expected readable images to learn a site's look from, got none among {len(files)} files")
    return np.stack(cells)


def descriptor_distance(
    model: Path, site: Path, *, snapshot: str | None = None, crop_px: int | None = None
) -> Distance:
    """Tell how far a site's look is from all that a target-only model has learned from.

    Raises:
        InputError, ModelError: as `read_appearance` does, or the model is not target-only.
    """
    path = find_snapshot(model, snapshot)
    look = read_appearance(path, site, crop_px)
    from hemabridge.translators.unseen_site import distance_of

    return distance_of(path, look)
