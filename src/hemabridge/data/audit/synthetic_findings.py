"""What an audit says of synthetic images in plain sentences."""

from collections.abc import Iterator, Sequence

from hemabridge.data.audit.results import DuplicateGroup, Finding, SyntheticFile
from hemabridge.data.synthetic import TRAINED_ON

_SHOWN = 3


def synthetic_findings(
    synthetic: Sequence[SyntheticFile], duplicates: Sequence[DuplicateGroup], n_images: int
) -> Iterator[Finding]:
    """Say which images are synthetic, which of them the manifest takes for real or a score would be made of.

    Args:
        synthetic: by the manifest, or by the mark in their file.
        duplicates: to find images without a mark that show what a synthetic one shows.
        n_images: in all.
    """
    if not synthetic:
        return
    yield Finding("note", f"{len(synthetic)} of {n_images} images are synthetic: they show no cell that ever was.")
    unknown = [found.member.path for found in synthetic if not found.in_manifest]
    if unknown:
        yield Finding(
            "error",
            f"The manifest takes {_counted(unknown)} for real, but the files say that a model drew them: index the "
            "folder again, so that the column origin tells.",
        )
    scored = [found.member.path for found in synthetic if found.member.split not in TRAINED_ON]
    if scored:
        yield Finding(
            "error",
            f"{_counted(scored)} in parts that are scored: no score on drawn cells says anything of real ones; split "
            "again, or remove them.",
        )
    yield from _without_mark(synthetic, duplicates)


def _without_mark(synthetic: Sequence[SyntheticFile], duplicates: Sequence[DuplicateGroup]) -> Iterator[Finding]:
    drawn = {found.member for found in synthetic}
    alike = [group for group in duplicates if drawn.intersection(group.members)]
    bare = sorted({member.path for group in alike for member in group.members if member not in drawn})
    if bare:
        yield Finding(
            "warning",
            f"{len(bare)} image(s) without a mark show what a synthetic image shows ({_examples(bare)}): either saved "
            "again by a program that removes marks, or the real cell that was copied instead of changed; look at them.",
        )


def _counted(paths: Sequence[str]) -> str:
    return f"{len(paths)} synthetic image{'' if len(paths) == 1 else 's'} ({_examples(paths)})"


def _examples(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
