"""The findings of an audit about sites: classes, patients and slides, scale, color, gray pictures."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from hemabridge.class_names import spelled_otherwise
from hemabridge.data.audit.audit_results import Audit, ClassCount, ColorProfile, Finding, Member, SiteScale
from hemabridge.imaging.color import delta_e_2000

FEW_CELLS = 20
"""With fewer cells of a class, the 95% confidence interval of its recall is wider than 0.3."""

IMBALANCE = 10
"""Ratio of the largest to the smallest class from which a note is made."""

VISIBLE_DELTA_E = 10.0
"""CIEDE2000 difference that is visible at a glance."""

WIDE_IQR = 15.0
"""Interquartile range of L, a or b of the background from which a site may hold several subdomains."""

SCALE_TOLERANCE = 0.2
"""Relative difference between two scales from which a warning is given."""

SHOWN: Final = 3
"""So many paths are named as examples."""


def site_findings(audit: Audit, ungrouped_sites: Sequence[str], squeezed: Collection[str]) -> Iterator[Finding]:
    """Yield the findings about each site, and about the differences between sites.

    Args:
        audit: the measures; its own `findings` are not read.
        ungrouped_sites: sites of which neither patients nor slides are known.
        squeezed: sites whose images are used as a whole, so that they need no crop.
    """
    yield from _gray(audit.gray, audit.class_prior)
    yield from _classes(audit.class_prior)
    yield from _groups(ungrouped_sites)
    yield from _scales([scale for scale in audit.scales if scale.site not in squeezed])
    yield from _colors(audit.colors)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def examples(paths: Sequence[str]) -> str:
    """Return the first of some paths, at most `SHOWN`."""
    return ", ".join(paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")


def _gray(gray: Sequence[Member], class_prior: Sequence[ClassCount]) -> Iterator[Finding]:
    totals: Counter[tuple[int, str]] = Counter()
    for count in class_prior:
        totals[count.manifest, count.site] += count.n
    paths: dict[tuple[int, str], list[str]] = {}
    for member in gray:
        paths.setdefault((member.manifest, member.site), []).append(member.path)
    for key, names in sorted(paths.items()):
        total = counted(totals[key], "image")
        if len(names) == totals[key]:
            yield Finding(
                "warning",
                f"All images of {key[1]} are gray ({total}): no color transform can re-stain them; ask for the color "
                "images.",
            )
        else:
            yield Finding(
                "warning",
                f"{len(names)} of {total} of {key[1]} {'is' if len(names) == 1 else 'are'} gray, or nearly so, among "
                f"color ones ({examples(names)}): no color transform can re-stain them; leave them out, or ask for "
                "the color images.",
            )


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
            f"No class is known for {counted(classes[''], 'image')} of {site}: only a translator can use "
            "them, not a classifier.",
        )
    rare = [f"{name} ({n})" for name, n in sorted(named.items()) if n < FEW_CELLS]
    if rare:
        yield Finding(
            "warning",
            f"{site} has fewer than {FEW_CELLS} cells of {', '.join(rare)}: their recall cannot be estimated "
            "well; consider leaving them out.",
        )
    if named and max(named.values()) >= IMBALANCE * min(named.values()):
        most, least = max(named, key=named.__getitem__), min(named, key=named.__getitem__)
        yield Finding(
            "note",
            f"{site} has {named[most]} cells of {most} and {named[least]} of {least}: use balanced accuracy, not "
            "accuracy.",
        )
    for part, present in sorted(parts.items()):
        absent = sorted(set(named) - present)
        if absent:
            yield Finding("warning", f"Part {part} of {site} has no cell of {', '.join(absent)}: split again.")
    lower = sorted({name for pair in spelled_otherwise(named, named) for name in pair})
    if lower:
        yield Finding("error", f"{site} writes one class in several ways ({', '.join(lower)}): choose one spelling.")


def _classes_between_sites(classes: dict[tuple[int, str], set[str]]) -> Iterator[Finding]:
    labeled = {key: names for key, names in classes.items() if names}
    for (first, its), (second, others) in combinations(labeled.items(), 2):
        for (one, has), (lacking, lacks) in (((first, its), (second, others)), ((second, others), (first, its))):
            extra = sorted(has - lacks)
            if extra and one[1] != lacking[1]:
                yield Finding(
                    "note",
                    f"{lacking[1]} has no {', '.join(extra)}, but {one[1]} has: compare only classes of both sites.",
                )


def _groups(ungrouped_sites: Sequence[str]) -> Iterator[Finding]:
    for site in ungrouped_sites:
        yield Finding(
            "note",
            f"Neither patients nor slides of {site} are known, so cells of one patient may be in training and test, "
            "and scores can be too high; fill in the column patient if you can.",
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
    """Return whether both sites state crops in which their nuclei are about equally wide."""
    shares = [_median_nucleus(scale) / crop for scale in (small, large) for crop in scale.stated_crop_px]
    both = bool(small.stated_crop_px and large.stated_crop_px)
    return both and max(shares) <= (1 + SCALE_TOLERANCE) * min(shares)


def _crop_to_use(scale: SiteScale, other: SiteScale) -> int | None:
    """Return the stated crop if it fits and the crop of the other site can be adapted to it, else the proposed one."""
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
                f"The manifest states crop_px {stated} for {scale.site}, its cells suggest {scale.proposed_crop_px}: "
                "check some crops by eye.",
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
                f"The background of {profile.site} varies widely between images (interquartile range "
                f"{max(profile.lab_iqr):.0f} Lab units): the site may have several subdomains, from several "
                "microscopes or cameras. A normalizer is fitted to all of them together, an ensemble to each one.",
            )
    for first, second in combinations(profiles, 2):
        if first.compartment == second.compartment and first.site != second.site:
            difference = float(delta_e_2000(np.array(first.lab), np.array(second.lab)))
            if difference > VISIBLE_DELTA_E:
                yield Finding(
                    "note",
                    f"The {first.compartment.replace('_', ' ')} color of {second.site} and {first.site} differs "
                    f"by {difference:.0f} CIEDE2000 units, which is visible at a glance: a domain shift in color.",
                )


def _median_nucleus(scale: SiteScale) -> float:
    return scale.nucleus_px[1] if scale.nucleus_px is not None else 0.0
