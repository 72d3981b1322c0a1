"""The findings of an audit in plain sentences: files, leaks, synthetic images, duplicates; then those about sites."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from hemabridge.data.audit.audit_results import (
    Audit,
    Border,
    DuplicateGroup,
    Finding,
    Severity,
    SyntheticFile,
)
from hemabridge.data.audit.decoded_findings import DecodedFindings
from hemabridge.data.audit.site_findings import counted, examples, site_findings
from hemabridge.data.splits import Leak
from hemabridge.data.synthetic import TRAINED_ON

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def find_all(
    audit: Audit,
    leaks: Sequence[Leak],
    changed: Sequence[str],
    ungrouped_sites: Sequence[str],
    decoded: DecodedFindings,
    squeezed: Collection[str],
) -> list[Finding]:
    """Return every finding, errors first.

    Args:
        audit: the measures; its own `findings` are not read.
        leaks: patients, slides, and source images of synthetic ones that are in several parts of the split.
        changed: paths of files that have changed since they were indexed.
        ungrouped_sites: sites of which neither patients nor slides are known.
        decoded: what was found while all images were decoded.
        squeezed: sites whose images are used as a whole.
    """
    found = [
        *_files(audit, changed),
        *decoded.findings(),
        *_leaks(leaks),
        *_synthetic(audit.synthetic, audit.duplicates, audit.n_images),
        *_duplicates(audit.duplicates),
        *site_findings(audit, ungrouped_sites, squeezed),
    ]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def _files(audit: Audit, changed: Sequence[str]) -> Iterator[Finding]:
    if audit.unreadable:
        first = audit.unreadable[0]
        yield Finding(
            "error",
            f"{counted(len(audit.unreadable), 'image')} cannot be used, for example {first.path}: {first.reason}.",
        )
    if changed:
        yield Finding(
            "error",
            f"{counted(len(changed), 'file')} changed since the manifest was made ({examples(changed)}): index the "
            "folder again.",
        )
    if audit.blank:
        yield Finding(
            "warning",
            f"Without any detail: {counted(len(audit.blank), 'image')} ({examples(audit.blank)}); leave "
            "out what shows no cell.",
        )


def _leaks(leaks: Iterable[Leak]) -> Iterator[Finding]:
    drawn_from = [leak for leak in leaks if leak.kind == "source"]
    if drawn_from:
        yield Finding(
            "error",
            f"Synthetic images were drawn from {counted(len(drawn_from), 'image')} of another part "
            f"({examples(drawn_from[0].paths)}), so that scores will be too high: split again.",
        )
    for leak in leaks:
        if leak.kind == "source":
            continue
        yield Finding(
            "error",
            f"The images of {leak.kind} {leak.name} are in several parts ({', '.join(leak.parts)}), so that scores "
            "will be too high: split again by patient or slide.",
        )


def _synthetic(
    synthetic: Sequence[SyntheticFile], duplicates: Sequence[DuplicateGroup], n_images: int
) -> Iterator[Finding]:
    if not synthetic:
        return
    yield Finding("note", f"{len(synthetic)} of {n_images} images are synthetic: they show no real cell.")
    unknown = [found.member.path for found in synthetic if not found.in_manifest]
    if unknown:
        yield Finding(
            "error",
            f"The manifest lists {counted(len(unknown), 'synthetic image')} ({examples(unknown)}) as real; a mark in "
            "each file states that a model made it: index the folder again, which fills in the column origin.",
        )
    scored = [found.member.path for found in synthetic if found.member.split not in TRAINED_ON]
    if scored:
        yield Finding(
            "error",
            f"{counted(len(scored), 'synthetic image')} ({examples(scored)}) in parts that are scored: a score on "
            "synthetic cells does not hold for real ones; split again, or remove them.",
        )
    yield from _without_mark(synthetic, duplicates)


def _without_mark(synthetic: Sequence[SyntheticFile], duplicates: Sequence[DuplicateGroup]) -> Iterator[Finding]:
    drawn = {found.member for found in synthetic}
    alike = [group for group in duplicates if drawn.intersection(group.members)]
    bare = sorted({member.path for group in alike for member in group.members if member not in drawn})
    if bare:
        yield Finding(
            "warning",
            f"Almost the same as a synthetic image, but without its mark: {counted(len(bare), 'image')} "
            f"({examples(bare)}). A program may have saved a synthetic image again and removed the mark, or the model "
            "may have copied a real cell: look at them.",
        )


def _duplicates(groups: Sequence[DuplicateGroup]) -> Iterator[Finding]:
    names = {
        "exact": "Copies of one file",
        "near": "Views of one cell or field (saved or photographed again, mirrored, turned, resized or cropped)",
    }
    consequences: dict[Border, tuple[Severity, str]] = {
        "split": ("error", "are in several parts of the split, so that scores will be too high: split again"),
        "class": ("error", "have different classes, so that at least one label is wrong: check them"),
        "manifest": ("error", "are in both manifests, which should share no image: remove them from one"),
        "site": ("warning", "are listed for different sites: find out where they come from"),
    }
    for kind, what in names.items():
        of_kind = [group for group in groups if group.kind == kind]
        if of_kind:
            text = "count as one cell: keep one of each, or keep them in one part of the split"
            yield Finding("warning", f"{what} ({_groups_of(of_kind)}) {text}.")
        for border, (severity, text) in consequences.items():
            crossing = [group for group in of_kind if border in group.crosses]
            if crossing:
                yield Finding(severity, f"{what} ({_groups_of(crossing)}) {text}.")


def _groups_of(groups: Sequence[DuplicateGroup]) -> str:
    total = sum(len(group.members) for group in groups)
    example = examples([member.path for member in groups[0].members])
    return f"{total} images in {counted(len(groups), 'group')}, for example {example}"
