"""`hemabridge guard`: learn from which change of morphology on a model's output is not kept, and write it beside it."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hemabridge.data.listing import files_below
from hemabridge.data.sampling import evenly_spaced
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.guard.thresholds import Thresholds, learn_normalizer_thresholds, learn_thresholds
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image
from hemabridge.imaging.scale import scale_matched
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.open import View, cell_view, find_snapshot, load_standardizer
from hemabridge.normalizers.catalog import NORMALIZERS, fit_normalizer, normalizer_from_json, read_normalizer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import atomic_write, sha256_of

LEARNED_FROM: Final = 200
"""So many cells of the target are enough for limits; each takes part of a second."""

NORMALIZER_PX: Final = 96
"""A normalizer knows no scale: its limits are learned from whole pictures, shrunk to this side."""

FALLBACK: Final = "white-point"
"""Re-stains a refused cell if nothing else is asked for: the safest, and it needs no source images to be fitted."""

MAX_JSON_CHARACTERS: Final = 2_000_000


class Guard(BaseModel):
    """What is kept beside a model.

    Attributes:
        version: of this file format.
        model: SHA-256 of the model's file, hexadecimal.
        thresholds: its limits.
        fallback: a normalizer as its own `to_json` writes it, for refused cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    version: Literal[1] = 1
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    thresholds: Thresholds
    fallback: str | None = None

    def normalizer(self) -> Normalizer | None:
        """Return the fallback.

        Raises:
            ModelError: it is no normalizer.
        """
        return None if self.fallback is None else normalizer_from_json(self.fallback)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            ModelError: it is missing, too large, or holds anything else.
        """
        if not path.is_file() or path.stat().st_size > MAX_JSON_CHARACTERS:
            raise ModelError(f"expected the guard of a model, got nothing, a folder or a very large file: {path}")
        try:
            guard = cls.model_validate_json(path.read_text(encoding="utf-8", errors="replace"))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])[:80] or "the text"
            raise ModelError(
                f"expected the guard of a model as `hemabridge guard` writes it, in {where}: {first['msg']}; "
                f"learn it again: {path}"
            ) from error
        guard.normalizer()
        return guard

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")


def guard_path(model: Path) -> Path:
    """Return where the guard of a model's file lies: beside it, `NAME.guard.json`."""
    return model.with_name(f"{model.stem}.guard.json")


def find_guard(model: Path) -> Guard | None:
    """Return the guard beside a model's file, `NAME.guard.json` or `guard.json`; None where there is none.

    Raises:
        ModelError: it is damaged, or belongs to another model.
    """
    path = next((p for p in (guard_path(model), model.with_name("guard.json")) if p.is_file()), None)
    if path is None:
        return None
    guard = Guard.read(path)
    if guard.model != sha256_of(model):
        raise ModelError(f"expected the guard of {model}, got that of another model: {path}; learn it again")
    return guard


def learn_guard(
    model: Path,
    target: Path,
    *,
    snapshot: str | None = None,
    crop_px: int | None = None,
    fallback: str = FALLBACK,
    progress: Progress = silent,
) -> tuple[Path, Guard]:
    """Learn the thresholds of a model from images of the target, and write them beside it.

    Args:
        model: a snapshot, or a run folder, of which the selected snapshot is taken, else the last one; or the JSON file
            of a normalizer.
        target: a folder of target images; best of cells that the model was not trained on.
        snapshot: the name of a snapshot of the run folder.
        crop_px: square around a cell in these images; as in training if not given.
        fallback: the normalizer for refused cells, a key of `NORMALIZERS`, fitted on these images alone.
        progress: told of each image.

    Returns:
        The file that was written, and what it holds.

    Raises:
        InputError: too few readable images.
        ModelError: no model is there.
    """
    path = find_snapshot(model, snapshot)
    view = cell_view(path, crop_px, "target")
    cells = _read(target, view, progress)
    method = None if view is not None else _method(path)
    if method is not None:
        thresholds = learn_normalizer_thresholds(method, cells)
    else:
        thresholds = learn_thresholds(load_standardizer(path, cells.shape[1]), cells)
    guard = guard_of(path, thresholds, cells, fallback)
    guard.write(guard_path(path))
    return guard_path(path), guard


def guard_of(model: Path, thresholds: Thresholds, target: UInt8Images, fallback: str = FALLBACK) -> Guard:
    """Return the guard of a model's file, with a fallback that is fitted on the target alone.

    Args:
        model: the file.
        thresholds: its limits.
        target: cells of the target, uint8[N, H, W, 3].
        fallback: a key of `NORMALIZERS`.

    Raises:
        InputError: there is no such normalizer.
    """
    fitted = fit_normalizer(fallback, target, target)
    return Guard(model=sha256_of(model), thresholds=thresholds, fallback=fitted.to_json())


def _method(path: Path) -> str | None:
    """Return the catalog's name of the normalizer in a file; None of one that is not fitted so."""
    kind = type(read_normalizer(path))
    return next((name for name, entry in NORMALIZERS.items() if entry.kind is kind), None)


def _read(folder: Path, view: View | None, progress: Progress) -> UInt8Images:
    """Read up to `LEARNED_FROM` cells of a folder, spread over all of it."""
    if not folder.is_dir():
        raise InputError(
            f"expected a folder of target images, got {'a file' if folder.exists() else 'nothing'}: {folder}"
        )
    files = sorted(name for name in files_below(folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES)
    some = [files[place] for place in evenly_spaced(len(files), LEARNED_FROM)]
    cells = []
    for number, name in enumerate(some, 1):
        try:
            image = read_image(folder / name)
        except ImageError:
            continue  # the limits need some cells, not all
        whole = scale_matched(image, min(image.shape[:2]), NORMALIZER_PX) if view is None else view(image[None])[0]
        cells.append(whole)
        progress("reading the target", number, len(some))
    if not cells:
        raise InputError(f"expected a folder with readable images of the target, got none in {folder}")
    return np.stack(cells)
