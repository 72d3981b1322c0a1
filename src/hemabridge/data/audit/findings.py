"""What an audit says in plain sentences."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from hemabridge.data.audit.depth_findings import Depths
from hemabridge.data.audit.results import (
    Audit,
    Border,
    ClassCount,
    ColorProfile,
    DuplicateGroup,
    Finding,
    Severity,
    SiteScale,
)
from hemabridge.data.audit.synthetic_findings import synthetic_findings
from hemabridge.data.class_names import spelled_otherwise
from hemabridge.data.splits import Leak
from hemabridge.imaging.color import delta_e_2000

FEW_CELLS = 20
"""Below this many cells of a class, a 95% interval of its recall is wider than 0.3."""

IMBALANCE = 10
"""Ratio of the largest to the smallest class that needs a remark."""

VISIBLE_DELTA_E = 10.0
"""CIEDE2000 difference that anyone sees at a glance."""

WIDE_IQR = 15.0
"""Interquartile range of L, a or b of the background that hints at several subdomains of one site."""

SCALE_TOLERANCE = 0.2
"""Relative difference between two scales that needs a remark."""

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_SHOWN = 3


def find_all(
    audit: Audit, leaks: Sequence[Leak], changed: Sequence[str], ungrouped_sites: Sequence[str], depths: Depths
) -> list[Finding]:
    """Return every finding, errors first.

    Args:
        audit: the measures; its own `findings` are not looked at.
        leaks: patients, slides, and what synthetic images were drawn from, that are in several parts of the split.
        changed: paths of files that are not the ones that were indexed.
        ungrouped_sites: sites of which neither patients nor slides are known.
        depths: of the samples of all images.
    """
    found = [
        *_files(audit, changed),
        *depths.findings(),
        *_leaks(leaks),
        *synthetic_findings(audit.synthetic, audit.duplicates, audit.n_images),
        *_duplicates(audit.duplicates),
        *_classes(audit.class_prior),
        *_groups(ungrouped_sites),
        *_scales(audit.scales),
        *_colors(audit.colors),
    ]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def _files(audit: Audit, changed: Sequence[str]) -> Iterator[Finding]:
    if audit.unreadable:
        first = audit.unreadable[0]
        yield Finding(
            "error",
            f"{_count(len(audit.unreadable), 'image')} cannot be used, for example {first.path}: {first.reason}.",
        )
    if changed:
        yield Finding(
            "error",
            f"{_count(len(changed), 'file')} changed since the manifest was made ({_examples(changed)}): index the "
            "folder again.",
        )
    if audit.blank:
        yield Finding(
            "warning",
            f"Nothing at all is shown by {_count(len(audit.blank), 'image')} ({_examples(audit.blank)}): leave it out.",
        )


def _leaks(leaks: Iterable[Leak]) -> Iterator[Finding]:
    drawn_from = [leak for leak in leaks if leak.kind == "source"]
    if drawn_from:
        yield Finding(
            "error",
            f"Synthetic images were drawn from {_count(len(drawn_from), 'image')} of another part "
            f"({_examples(drawn_from[0].paths)}), so that scores will be too good: split again.",
        )
    for leak in leaks:
        if leak.kind == "source":
            continue
        yield Finding(
            "error",
            f"The images of {leak.kind} {leak.name} are in several parts ({', '.join(leak.parts)}), so that scores "
            "will be too good: split again by patient or slide.",
        )


def _duplicates(groups: Sequence[DuplicateGroup]) -> Iterator[Finding]:
    names = {"exact": "Copies of one file", "near": "Images of one cell, saved or photographed twice"}
    consequences: dict[Border, tuple[Severity, str]] = {
        "split": ("error", "lie in several parts of the split, so that scores will be too good: split again"),
        "class": ("error", "have different classes, so that at least one label is wrong: look at them"),
        "manifest": ("error", "lie in both manifests, which should share no image: remove them from one"),
        "site": ("warning", "lie at different sites: find out where they come from"),
    }
    for kind, what in names.items():
        of_kind = [group for group in groups if group.kind == kind]
        if of_kind:
            text = "count as one cell: keep one of each, or let the split keep them together"
            yield Finding("warning", f"{what} ({_groups_of(of_kind)}) {text}.")
        for border, (severity, text) in consequences.items():
            crossing = [group for group in of_kind if border in group.crosses]
            if crossing:
                yield Finding(severity, f"{what} ({_groups_of(crossing)}) {text}.")


def _classes(class_prior: Sequence[ClassCount]) -> Iterator[Finding]:
    totals: dict[tuple[int, str], dict[str, int]] = {}
    parts: dict[tuple[int, str], dict[str, set[str]]] = {}
    for count in class_prior:
        key = (count.manifest, count.site)
        classes = totals.setdefault(key, {})
        classes[count.class_name] = classes.get(count.class_name, 0) + count.n
        if count.split:
            parts.setdefault(key, {}).setdefault(count.split, set()).add(count.class_name)
    for key, classes in totals.items():
        yield from _classes_of_site(key[1], classes, parts.get(key, {}))
    yield from _classes_between_sites({key: set(classes) - {""} for key, classes in totals.items()})


def _classes_of_site(site: str, classes: dict[str, int], parts: dict[str, set[str]]) -> Iterator[Finding]:
    named = {name: n for name, n in classes.items() if name}
    if classes.get(""):
        yield Finding(
            "note",
            f"No class is known for {_count(classes[''], 'image')} of {site}: good for a translator only.",
        )
    rare = [f"{name} ({n})" for name, n in sorted(named.items()) if n < FEW_CELLS]
    if rare:
        yield Finding(
            "warning",
            f"{site} has fewer than {FEW_CELLS} cells of {', '.join(rare)}: their recall cannot be told, consider "
            "leaving them out.",
        )
    if named and max(named.values()) >= IMBALANCE * min(named.values()):
        most, least = max(named, key=named.__getitem__), min(named, key=named.__getitem__)
        yield Finding(
            "note",
            f"{site} has {named[most]} cells of {most} and {named[least]} of {least}: read balanced accuracy, not "
            "accuracy.",
        )
    for part, present in sorted(parts.items()):
        absent = sorted(set(named) - present)
        if absent:
            yield Finding("warning", f"Part {part} of {site} has no cell of {', '.join(absent)}: split again.")
    lower = sorted({name for pair in spelled_otherwise(named, named) for name in pair})
    if lower:
        yield Finding("error", f"{site} writes one class in several ways ({', '.join(lower)}): choose one.")


def _classes_between_sites(classes: dict[tuple[int, str], set[str]]) -> Iterator[Finding]:
    labeled = {key: names for key, names in classes.items() if names}
    for (first, its), (second, others) in combinations(labeled.items(), 2):
        for (one, has), (lacking, lacks) in (((first, its), (second, others)), ((second, others), (first, its))):
            extra = sorted(has - lacks)
            if extra and one[1] != lacking[1]:
                yield Finding(
                    "note",
                    f"{lacking[1]} has no {', '.join(extra)}, {one[1]} has: compare only the classes that both have.",
                )


def _groups(ungrouped_sites: Sequence[str]) -> Iterator[Finding]:
    for site in ungrouped_sites:
        yield Finding(
            "note",
            f"Neither patients nor slides of {site} are known, so cells of one patient may be in training and test: "
            "scores can be too good; fill in the column patient if you can.",
        )


def _scales(scales: Sequence[SiteScale]) -> Iterator[Finding]:
    for scale in scales:
        yield from _scale_of_site(scale)
    measured = [scale for scale in scales if scale.nucleus_px is not None]
    for first, second in combinations(measured, 2):
        small, large = sorted((first, second), key=_median_nucleus)
        ratio = _median_nucleus(large) / _median_nucleus(small)
        if small.site != large.site and ratio > 1 + SCALE_TOLERANCE and not _crops_match(small, large):
            yield Finding(
                "warning",
                f"Nuclei of {large.site} are {ratio:.1f} times as wide in pixels as those of {small.site}: use the "
                f"crops of {_crop_to_use(large, small)} and {_crop_to_use(small, large)} pixels, so that cells match.",
            )


def _crops_match(small: SiteScale, large: SiteScale) -> bool:
    """Tell whether both sites state crops that show nuclei about as wide at one as at the other."""
    shares = [_median_nucleus(scale) / crop for scale in (small, large) for crop in scale.stated_crop_px]
    both = bool(small.stated_crop_px and large.stated_crop_px)
    return both and max(shares) <= (1 + SCALE_TOLERANCE) * min(shares)


def _crop_to_use(scale: SiteScale, other: SiteScale) -> int | None:
    """Return the stated crop if it fits and the other site can follow it, else the proposed one."""
    stated = () if other.stated_crop_px else scale.stated_crop_px
    return stated[0] if len(stated) == 1 and _fits(stated[0], scale) else scale.proposed_crop_px


def _fits(stated: int, scale: SiteScale) -> bool:
    return scale.proposed_crop_px is None or abs(stated / scale.proposed_crop_px - 1) <= SCALE_TOLERANCE


def _scale_of_site(scale: SiteScale) -> Iterator[Finding]:
    without = scale.n - scale.n_nuclei
    if without:
        yield Finding(
            "warning" if without * 10 > scale.n else "note",
            f"No nucleus was found in {without} of {scale.n} measured images of {scale.site}: are they single cells in "
            "the center of the image?",
        )
    if scale.proposed_crop_px is None:
        return
    if not scale.stated_crop_px:
        yield Finding(
            "note", f"The manifest states no crop_px for {scale.site}; proposed: {scale.proposed_crop_px} pixels."
        )
    for stated in scale.stated_crop_px:
        if not _fits(stated, scale):
            yield Finding(
                "warning",
                f"The manifest states crop_px {stated} for {scale.site}, its nuclei suggest {scale.proposed_crop_px}: "
                "look at some crops.",
            )
    kind, crop = ("stated", max(scale.stated_crop_px)) if scale.stated_crop_px else ("proposed", scale.proposed_crop_px)
    if scale.smallest_side_px < crop:
        yield Finding(
            "note",
            f"Some images of {scale.site} are smaller ({scale.smallest_side_px} pixels) than the {kind} crop "
            f"({crop}): their borders will be repeated.",
        )


def _colors(profiles: Sequence[ColorProfile]) -> Iterator[Finding]:
    for profile in profiles:
        if profile.compartment == "background" and max(profile.lab_iqr) > WIDE_IQR:
            yield Finding(
                "warning",
                f"The background of {profile.site} varies widely between images (middle half over "
                f"{max(profile.lab_iqr):.0f} Lab units): it may hold several subdomains, from several microscopes "
                "or cameras. A normalizer is fitted to all of them at once; an agreement fits each for itself.",
            )
    for first, second in combinations(profiles, 2):
        if first.compartment == second.compartment and first.site != second.site:
            difference = float(delta_e_2000(np.array(first.lab), np.array(second.lab)))
            if difference > VISIBLE_DELTA_E:
                yield Finding(
                    "note",
                    f"The {first.compartment.replace('_', ' ')} color of {second.site} and {first.site} differs "
                    f"by {difference:.0f} CIEDE2000 units, which anyone sees: this is the gap to bridge.",
                )


def _median_nucleus(scale: SiteScale) -> float:
    return scale.nucleus_px[1] if scale.nucleus_px is not None else 0.0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _groups_of(groups: Sequence[DuplicateGroup]) -> str:
    total = sum(len(group.members) for group in groups)
    example = _examples([member.path for member in groups[0].members])
    return f"{total} images in {_count(len(groups), 'group')}, for example {example}"


def _examples(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
