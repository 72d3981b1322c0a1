"""`hemabridge audit`: check of the images before any training."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hemabridge.data.audit import Audit, Finding, audit
from hemabridge.data.manifest import Manifest, read_manifest
from hemabridge.errors import InputError
from hemabridge.models import Model, open_model
from hemabridge.models.site_answer import answer_for
from hemabridge.progress import FileProgress
from hemabridge.storage.files import atomic_write


def audit_manifest(
    path: Path,
    *,
    root: Path | None = None,
    other: Path | None = None,
    other_root: Path | None = None,
    model: Path | None = None,
    crop_px: int | None = None,
    out: Path | None = None,
    progress: FileProgress | None = None,
) -> Audit:
    """Audit one manifest, or one against another, and write the result as JSON.

    Args:
        path: the manifest.
        root: the folder of its images; the manifest's own if None.
        other: the manifest of another site, to find shared images and the distance of their appearance.
        other_root: the folder of the other site's images; that of its manifest if None.
        model: a normalizer's JSON, or a translator's snapshot, to check whether each site is in-distribution for it.
        crop_px: side of the square around a cell in the files, for the model; as in its training if None.
        out: the JSON to write; nothing is written if None.
        progress: called after each image.

    Raises:
        ManifestError: a manifest cannot be used.
        ModelError: the model's file cannot be used.
    """
    opened = None if model is None else open_model(model, crop_px=crop_px)
    first = read_manifest(path, root)
    second = None if other is None else read_manifest(other, other_root)
    found = audit(first, other=second, progress=progress)
    if opened is not None:
        manifests = [first] if second is None else [first, second]
        said = [finding for one in manifests for finding in _known_sites(opened, one)]
        found = replace(found, findings=(*found.findings, *said))
    if out is not None:
        with atomic_write(out) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    return found


def _known_sites(model: Model, manifest: Manifest) -> Iterator[Finding]:
    sites = manifest.column("site")
    for site in sorted(set(sites)):
        files = manifest.select([name == site for name in sites]).paths()
        try:
            found = answer_for(model, files)
        except InputError as error:
            yield Finding("warning", f"{site}: not compared with the model's sites: {error}")
            continue
        if found is None:
            yield Finding(
                "warning",
                f"{site}: the model's file holds no site profile, so this site cannot be "
                "compared with those it was fitted on; train or fit it again with 20 or more images of each site",
            )
        else:
            yield Finding(
                "note" if found.answer == "in-distribution" else "warning", f"{site} to the model: {found.text}"
            )
