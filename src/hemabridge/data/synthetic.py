"""Synthetic images in a manifest: recognized by the column `origin` or a mark in the file, and never scored."""

import polars as pl

from hemabridge.data.columns import listed
from hemabridge.data.manifest import INDEX_COMMAND, SPLIT_COMMAND, Manifest
from hemabridge.errors import SplitError
from hemabridge.imaging.provenance import origin_of_text, read_origin
from hemabridge.progress import FileProgress

TRAINED_ON = ("", "train")
"""The parts that may contain synthetic images: the training part, and images without a part."""


def with_origins(manifest: Manifest, progress: FileProgress | None = None) -> Manifest:
    """Return the manifest with every empty `origin` filled from the mark in the file, if there is one.

    Raises:
        ManifestError: a path leaves the root.
    """
    known = manifest.column("origin")
    origins = []
    for index, (path, origin) in enumerate(zip(manifest.paths(), known, strict=True)):
        found = None if origin else read_origin(path)
        origins.append(origin if found is None else found.as_text())
        if progress is not None:
            progress(index + 1, len(known))
    return Manifest(manifest.table.with_columns(pl.Series("origin", origins, dtype=pl.String)), manifest.root)


def is_synthetic(manifest: Manifest) -> list[bool]:
    """Return for each row whether it is a synthetic image by its column `origin`."""
    return [origin != "" for origin in manifest.column("origin")]


def sources(manifest: Manifest) -> list[str]:
    """Return the SHA-256 of the source image of each synthetic row; empty for real images, and if unknown."""
    return [
        "" if (origin := origin_of_text(text)) is None else origin.source_sha256 for text in manifest.column("origin")
    ]


def refuse_held_out(manifest: Manifest, *, files: bool = True) -> None:
    """Check that no synthetic image is in a part that is scored, such as validation or test.

    Args:
        manifest: with the column `split`.
        files: also read the mark in the file where the column `origin` is empty.

    Raises:
        SplitError: a synthetic image is in such a part.
        ManifestError: a path leaves the root.
    """
    held_out = manifest.select(~pl.col("split").is_in(TRAINED_ON))
    wrong = held_out.select(is_synthetic(with_origins(held_out) if files else held_out))
    if len(wrong):
        raise SplitError(
            f"expected real cells only in the parts that are scored, got {len(wrong)} synthetic in "
            f"{' and '.join(sorted(set(wrong.column('split'))))}: {listed(wrong.column('path'))}; use them "
            f"for training only: index the folder again, which finds them (`{INDEX_COMMAND} --replace`), then split "
            f"again (`{SPLIT_COMMAND}`), or remove them"
        )
