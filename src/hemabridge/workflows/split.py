"""`hemabridge split`: fill the column `split` of a manifest."""

from collections.abc import Mapping
from pathlib import Path

from hemabridge.data.audit import near_duplicates
from hemabridge.data.manifest import Manifest, read_manifest, write_manifest
from hemabridge.data.splits import Grouping, check_fractions, check_split, split
from hemabridge.data.synthetic import with_origins
from hemabridge.errors import SplitError
from hemabridge.progress import FileProgress

FRACTIONS: Mapping[str, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}


def split_manifest(
    path: Path,
    *,
    root: Path | None = None,
    out: Path | None = None,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
    group: Grouping = "auto",
    keep_near_duplicates_together: bool = True,
    replace: bool = False,
    progress: FileProgress | None = None,
) -> Manifest:
    """Split a manifest by patient or slide, with the same class prevalence in each part, and write it.

    Synthetic images, including those that are known only by the mark in their file, go to `train`, together with the
    images that they were made from.

    Args:
        path: the manifest.
        root: the folder of its images; the manifest's own if None.
        out: the CSV to write; `path` if None.
        fractions: share of the images for each part; the parts are train, validation and test.
        seed: of the split.
        group: unit that must stay in one part; `auto` is the patient if it is known, else the slide, else the image.
        keep_near_duplicates_together: find photographs of the same cell (reads every image) and keep them in one part.
        replace: replace the split in `path`, or overwrite `out`.
        progress: called after each image that is read.

    Raises:
        ManifestError: the manifest cannot be used.
        SplitError: a split or a file would be overwritten, a part has another name, or there is no split that keeps the
            rules.
    """
    check_fractions(fractions)
    manifest = with_origins(read_manifest(path, root))
    target = path if out is None else out
    if target == path and any(manifest.column("split")) and not replace:
        raise SplitError(f"expected a manifest without a split, {path} has one; replace it (--replace), or keep it")
    if target != path and target.exists() and not replace:
        raise SplitError(f"expected no file at {target} yet, got one; name another, or replace it (--replace)")
    together = near_duplicates(manifest, progress=progress) if keep_near_duplicates_together else ()
    done = split(manifest, fractions, seed=seed, group=group, together=together)
    check_split(done, group=group)
    write_manifest(done, target)
    return done
