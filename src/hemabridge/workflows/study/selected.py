"""The choice of a snapshot that lies in a study's folder, for its report."""

from pathlib import Path
from typing import Final

from hemabridge.errors import HemabridgeError
from hemabridge.imaging.files import read_image
from hemabridge.models.open import read_selection
from hemabridge.models.selection_file import Selection
from hemabridge.report.chosen import ChosenSnapshot
from hemabridge.storage.files import sha256_of
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.selection.select import PICTURE

LARGEST_PICTURE: Final = 8_000_000
"""Bytes; what `hemabridge select` draws has about a hundred thousand."""

PNG: Final = b"\x89PNG\r\n\x1a\n"


def read_chosen(folder: Path) -> ChosenSnapshot | None:
    """Return the choice of `hemabridge select` in a study's folder; None where it was not asked.

    A damaged file, or a choice among other snapshots than those that are there now, ends no study: the report says so.
    """
    try:
        found = read_selection(folder)
    except HemabridgeError:
        return ChosenSnapshot("selection.json cannot be read. Run hemabridge select again, then the study.")
    if found is None:
        return None
    if not _is_of(found, folder):
        return ChosenSnapshot(
            "The translator was trained anew since a snapshot was chosen. Run hemabridge select again, then the study."
        )
    return ChosenSnapshot(found.reasons, _picture(folder / PICTURE))


def _is_of(found: Selection, folder: Path) -> bool:
    """Tell whether the snapshots are those that were measured; of their contents, the chosen one's is looked at."""
    paths = {snapshot.name: snapshot.path for snapshot in list_snapshots(folder / "translator")}
    if any(row.snapshot not in paths for row in found.snapshots):
        return False
    return found.chosen is None or sha256_of(paths[found.chosen]) == found.row(found.chosen).sha256


def _picture(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return None
    content = path.read_bytes()
    try:
        read_image(path)
    except HemabridgeError:
        return None
    return content if content.startswith(PNG) else None
