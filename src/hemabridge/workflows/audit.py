"""`hemabridge audit`: look at the images before any training."""

from pathlib import Path

from hemabridge.data.audit import Audit, audit
from hemabridge.data.manifest import read_manifest
from hemabridge.imaging.files import atomic_write
from hemabridge.progress import FileProgress


def audit_manifest(
    path: Path,
    *,
    root: Path | None = None,
    other: Path | None = None,
    other_root: Path | None = None,
    out: Path | None = None,
    progress: FileProgress | None = None,
) -> Audit:
    """Audit one manifest, or one against another, and write the result as JSON.

    Args:
        path: the manifest.
        root: the folder of its images; the manifest's own if None.
        other: the manifest of the other site, to find what both share and how far apart they look.
        other_root: the folder of the other's images; that manifest's own if None.
        out: the JSON to write; nothing is written if None.
        progress: called after each image.

    Raises:
        ManifestError: a manifest cannot be used.
    """
    second = None if other is None else read_manifest(other, other_root)
    found = audit(read_manifest(path, root), other=second, progress=progress)
    if out is not None:
        with atomic_write(out) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    return found
