"""Facts for the report besides its tables: sites, numbers, times, kept structure, chosen snapshot."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import HemabridgeError
from hemabridge.imaging.files import read_image
from hemabridge.metrics.closeness import gradient_correlation, luminance_ssim
from hemabridge.models.open import read_selection
from hemabridge.models.selection_file import PICTURE, Selection
from hemabridge.models.study_folder import StudyFolder
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.sites import Site
from hemabridge.report.report import ChosenSnapshot
from hemabridge.storage.files import sha256_of
from hemabridge.training.snapshots import snapshot_files
from hemabridge.workflows.study.restained import Restained

LARGEST_PICTURE: Final = 8_000_000
"""Largest size of the selection's figure in bytes; `hemabridge select` writes about a hundred thousand."""

PNG: Final = b"\x89PNG\r\n\x1a\n"


def study_facts(recipe: StudyRecipe, source: Site, target: Site, restained: Sequence[Restained]) -> dict[str, Any]:
    """Return facts about sites, cells, snapshots and settings."""
    sizes = sorted({recipe.cells_px(spec) for spec in recipe.classifiers})
    facts: dict[str, Any] = {
        "source site": source.name,
        "target site": target.name,
        "source crop": _crop_text(source),
        "target crop": _crop_text(target),
        "cells as classified": ", ".join(f"{px} x {px} px" for px in sizes),
        "mode asked for": recipe.mode,
        "seed": recipe.seed,
    }
    for role, site in (("source", source), ("target", target)):
        counts = Counter(zip(site.manifest.column("split"), site.manifest.column("class"), strict=True))
        for part in sorted({part for part, _ in counts}):
            listed = ", ".join(f"{name} {n}" for (p, name), n in sorted(counts.items()) if p == part)
            facts[f"{role} cells, {part}"] = f"{sum(n for (p, _), n in counts.items() if p == part)} ({listed})"
    for r in restained:
        if r.snapshot is not None:
            facts[f"snapshot {r.name}"] = f"epoch {r.snapshot.epoch:g}, {r.snapshot.images} images seen per site"
    return facts | _fit_facts(restained)


def _fit_facts(restained: Sequence[Restained]) -> dict[str, str]:
    """Return facts about normalizers with an unusual fit or with implausible colors."""
    facts = {}
    for r in restained:
        header = r.model.header
        if isinstance(header, Normalizer) and header.faults:
            facts[f"do not use {r.name}"] = "it makes implausible colors: " + "; ".join(header.faults)
        elif isinstance(header, Normalizer) and header.note:
            facts[f"fit of {r.name}"] = header.note
    return facts


def _crop_text(site: Site) -> str:
    return "whole images, squeezed" if site.crop_px == "whole" else f"{site.crop_px} px"


def structure_facts(test: CellSet, restained: Sequence[Restained]) -> dict[str, str]:
    """Return the kept structure of each re-staining: medians and 5th percentiles over the test cells.

    The measures are SSIM of the luminance and correlation of the gradients between input and output; 1 is the maximum.
    """
    facts = {}
    for r in restained:
        ssim = luminance_ssim(r.test.images, test.images)
        gradients = gradient_correlation(r.test.images, test.images)
        facts[f"structure kept, {r.name}"] = (
            f"luminance SSIM {np.median(ssim):.3f} (5th percentile {np.percentile(ssim, 5):.3f}), "
            f"gradient correlation {np.median(gradients):.3f} ({np.percentile(gradients, 5):.3f}), n = {len(test)}"
        )
    return facts


def read_chosen(folder: Path, restained: Sequence[Restained] = ()) -> ChosenSnapshot | None:
    """Return the choice of `hemabridge select` in a study's folder; None if there is none.

    A damaged file, or a choice among other snapshots than the present ones, is not an error; the report states it.
    The files of the models of `restained` are not opened again.
    """
    try:
        found = read_selection(folder)
    except HemabridgeError:
        return ChosenSnapshot("selection.json cannot be read. Run hemabridge select RUN again, then the study.")
    if found is None:
        return None
    if not _is_of(found, folder, {r.model.path: r.model.sha256 for r in restained}):
        return ChosenSnapshot(
            "The translator was trained again since a snapshot was chosen. Run hemabridge select RUN again, then the "
            "study."
        )
    return ChosenSnapshot(found.reasons, _picture(folder / PICTURE))


def _is_of(found: Selection, folder: Path, hashes: Mapping[Path, str]) -> bool:
    """Return whether the snapshots are those of the selection, by their names and the hash of the chosen one."""
    paths = {path.stem: path for path in snapshot_files(StudyFolder(folder).translator)}
    if any(row.snapshot not in paths for row in found.snapshots):
        return False
    if found.chosen is None:
        return True
    path = paths[found.chosen]
    return (hashes.get(path) or sha256_of(path)) == found.row(found.chosen).sha256


def _picture(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return None
    content = path.read_bytes()
    try:
        read_image(path)
    except HemabridgeError:
        return None
    return content if content.startswith(PNG) else None
