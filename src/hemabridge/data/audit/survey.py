"""The audit: one pass over all images, then a summary of their measures."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from hemabridge.data.audit.appearance import Appearance, color_profiles, measure, site_scale
from hemabridge.data.audit.audit_results import Audit, Border, ClassCount, DuplicateGroup, Member, SyntheticFile
from hemabridge.data.audit.decoded_findings import DecodedFindings
from hemabridge.data.audit.duplicates import Sketch, exact_copies, first_of_each, same_fields, sketch
from hemabridge.data.audit.findings import find_all
from hemabridge.data.cells import SCALE_SAMPLE, sampled
from hemabridge.data.index import UnreadableFile
from hemabridge.data.manifest import Manifest
from hemabridge.data.splits import find_leaks
from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_decoded, reason_of
from hemabridge.imaging.grayness import is_gray
from hemabridge.imaging.provenance import read_origin
from hemabridge.imaging.scale import check_shows_cell
from hemabridge.progress import FileProgress
from hemabridge.storage.files import sha256_of


@dataclass(eq=False)
class _Survey:
    """Measures of one pass over the images; `members`, `hashes` and `fingerprints` have one item per readable image."""

    members: list[Member] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    sketches: list[Sketch] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    synthetic: list[SyntheticFile] = field(default_factory=list)
    decoded: DecodedFindings = field(default_factory=DecodedFindings)
    gray: list[Member] = field(default_factory=list)
    samples: dict[tuple[int, str], list[Appearance]] = field(default_factory=dict)


def audit(
    manifest: Manifest,
    *,
    other: Manifest | None = None,
    squeezed: Collection[str] = (),
    progress: FileProgress | None = None,
) -> Audit:
    """Check every image before any training.

    Each image is read once. Color and scale are measured on at most 200 images per site, always the same ones.

    Args:
        manifest: the images of one or several sites.
        other: a second manifest, such as that of the other site, to find images that are in both.
        squeezed: sites whose images are used as a whole (`crop_px = "whole"`), so that nothing is said of their crops.
        progress: called after each image.

    Returns:
        The audit. A file that cannot be read is recorded and does not stop the audit.

    Raises:
        ManifestError: a path leaves the root of its manifest.
    """
    manifests = [manifest] if other is None else [manifest, other]
    survey = _survey(manifests, progress)
    duplicates = (*_exact(survey), *_near(survey))
    blank = tuple(
        member.path for member, seen in zip(survey.members, survey.sketches, strict=True) if seen.fingerprint.is_blank
    )
    class_prior = tuple(count for number, one in enumerate(manifests, start=1) for count in _class_prior(number, one))
    colors = [
        profile for (number, site), seen in survey.samples.items() for profile in color_profiles(number, site, seen)
    ]
    scales = [
        site_scale(number, site, seen, _stated_crops(manifests[number - 1], site))
        for (number, site), seen in survey.samples.items()
    ]
    leaks = [leak for one in manifests for leak in find_leaks(one, ("patient", "slide", "source"))]
    ungrouped = sorted({site for one in manifests for site in _ungrouped_sites(one)})
    found = Audit(
        n_images=sum(map(len, manifests)),
        unreadable=tuple(survey.unreadable),
        blank=blank,
        duplicates=duplicates,
        class_prior=class_prior,
        colors=tuple(colors),
        scales=tuple(scales),
        findings=(),
        synthetic=tuple(survey.synthetic),
        gray=tuple(survey.gray),
    )
    return replace(found, findings=tuple(find_all(found, leaks, survey.changed, ungrouped, survey.decoded, squeezed)))


def _survey(manifests: Sequence[Manifest], progress: FileProgress | None) -> _Survey:
    survey = _Survey()
    total, done = sum(map(len, manifests)), 0
    for number, manifest in enumerate(manifests, start=1):
        measured = _paths_to_measure(manifest)
        for path, row in zip(manifest.paths(), manifest.table.iter_rows(named=True), strict=True):
            try:
                decoded = read_decoded(path)
                image = np.ascontiguousarray(decoded.pixels)
                check_shows_cell(image)
                digest = sha256_of(path)
            except (ImageError, OSError, MemoryError) as error:
                survey.unreadable.append(UnreadableFile(row["path"], reason_of(error, path)))
            else:
                if row["sha256"] not in ("", digest):
                    survey.changed.append(row["path"])
                member = Member(number, row["path"], row["site"], row["class"], row["split"])
                survey.members.append(member)
                marked = None if row["origin"] else read_origin(path)
                if row["origin"] or marked is not None:
                    origin = row["origin"] if marked is None else marked.as_text()
                    survey.synthetic.append(SyntheticFile(member, origin, marked is None))
                survey.decoded.add(row["site"], row["path"], decoded)
                survey.hashes.append(digest)
                survey.sketches.append(sketch(image))
                if is_gray(image) and not survey.sketches[-1].fingerprint.is_blank:
                    survey.gray.append(member)
                if row["path"] in measured:
                    survey.samples.setdefault((number, row["site"]), []).append(measure(image))
            done += 1
            if progress is not None:
                progress(done, total)
    return survey


def _paths_to_measure(manifest: Manifest) -> set[str]:
    sites = manifest.column("site")
    chosen = (sampled(manifest.select([name == site for name in sites]), SCALE_SAMPLE) for site in set(sites))
    return {path for one in chosen for path in one.column("path")}


def _exact(survey: _Survey) -> list[DuplicateGroup]:
    return [_group("exact", (survey.members[i] for i in rows), 1.0) for rows in exact_copies(survey.hashes)]


def _near(survey: _Survey) -> list[DuplicateGroup]:
    """Group images of one field; of exact copies only the first one is compared."""
    rows = first_of_each(survey.hashes)
    groups = same_fields([survey.sketches[row] for row in rows])
    return [_group("near", (survey.members[rows[i]] for i in one.positions), one.correlation) for one in groups]


def _group(kind: Literal["exact", "near"], members: Iterable[Member], correlation: float) -> DuplicateGroup:
    together = tuple(members)
    values: dict[Border, set[str]] = {
        "manifest": {str(member.manifest) for member in together},
        "site": {member.site for member in together},
        "split": {member.split for member in together if member.split},
        "class": {member.class_name for member in together if member.class_name},
    }
    crosses = tuple(border for border in get_args(Border) if len(values[border]) > 1)
    return DuplicateGroup(kind, together, crosses, round(correlation, 3))


def _class_prior(number: int, manifest: Manifest) -> list[ClassCount]:
    rows = zip(manifest.column("site"), manifest.column("split"), manifest.column("class"), strict=True)
    return [ClassCount(number, *key, n) for key, n in sorted(Counter(rows).items())]


def _stated_crops(manifest: Manifest, site: str) -> list[int]:
    rows = zip(manifest.column("site"), manifest.column("crop_px"), strict=True)
    return [crop_px for name, crop_px in rows if name == site and crop_px is not None]


def _ungrouped_sites(manifest: Manifest) -> set[str]:
    rows = manifest.table.iter_rows(named=True)
    return set(manifest.column("site")) - {row["site"] for row in rows if row["patient"] or row["slide"]}
