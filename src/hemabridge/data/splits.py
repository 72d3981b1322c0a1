"""Splits of a manifest without leaks: by patient or slide, stratified by class, independent of the row order."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl
from scipy.cluster.hierarchy import DisjointSet

from hemabridge.data.manifest import SPLIT_COMMAND, Manifest, with_hashes
from hemabridge.data.synthetic import is_synthetic, refuse_held_out, sources
from hemabridge.errors import SplitError

Grouping: TypeAlias = Literal["patient", "slide", "none", "auto"]
LeakKind: TypeAlias = Literal["patient", "slide", "file", "source"]
Stratum: TypeAlias = tuple[str, str]
"""(site, class)."""

PARTS = ("train", "validation", "test")
"""The parts of a split. A manifest may have others (`test_b` of a public data set), which are not made here."""

_SUM_TOLERANCE = 1e-6
_SHOWN = 5


@dataclass(frozen=True)
class _Unit:
    """Images that stay in one part. `key` orders the units; `counts` is the number of real images per stratum."""

    key: str
    rows: tuple[int, ...]
    counts: Mapping[Stratum, int]
    has_synthetic: bool


@dataclass(frozen=True)
class Leak:
    """A patient, a slide, or the content of a file (`name` is its SHA-256) that is in several parts of a split.

    A leak of kind `source` is a real image (`name` is its SHA-256) in another part than a synthetic image made from it.
    """

    kind: LeakKind
    name: str
    parts: tuple[str, ...]
    paths: tuple[str, ...]


def split(
    manifest: Manifest,
    fractions: Mapping[str, float],
    *,
    seed: int,
    group: Grouping = "auto",
    together: Iterable[Sequence[str]] = (),
) -> Manifest:
    """Fill the column `split` so that each part gets its fraction of each class of each site.

    Images of one patient (or slide) and copies of one file stay in one part. Groups are assigned in the order of hashes
    of their names and the seed, so the order of the rows does not matter. They are assigned by iterative stratification
    (Sechidis, Tsoumakas and Vlahavas 2011, ECML PKDD, doi:10.1007/978-3-642-23808-6_10), with groups in the place of
    examples: the rarest class first, to the part that lacks most of it. Each part gets a group of each class as long as
    there are enough groups.

    Synthetic images (column `origin`) go to `train` together with their source images, since a test on the source image
    of a training image would be a leak. The fractions are those of the other images.

    Args:
        manifest: the images; an existing split is replaced, and unknown file hashes are filled in.
        fractions: part -> share of the images, above 0, with sum 1; at least two of `PARTS`.
        seed: random seed of the split.
        group: images of one group stay in one part. `auto` takes for each site the patient if all its images have one,
            else the slide if all have one, else the single image.
        together: paths of images that stay in one part for another reason, such as near duplicates.

    Raises:
        SplitError: fractions that are not valid, an unknown part, an unknown patient or slide, a part without a real
            cell of a class, or synthetic images and no part `train`.
    """
    check_fractions(fractions)
    hashed = with_hashes(manifest)
    units = _units(hashed, seed, group, together)
    if "train" not in fractions and any(unit.has_synthetic for unit in units):
        raise SplitError(f"expected a part train for the synthetic images, got only {' and '.join(fractions)}; add it")
    assigned = _assign(units, fractions)
    column = [""] * len(hashed)
    for unit, part in zip(units, assigned, strict=True):
        for row in unit.rows:
            column[row] = part
    done = Manifest(hashed.table.with_columns(pl.Series("split", column, dtype=pl.String)), hashed.root)
    _check_classes(done, list(fractions))
    return done


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Check that the parts are some of `PARTS`, and that their shares sum to 1.

    Raises:
        SplitError: they are not; for an unknown part the message proposes the most similar name.
    """
    for name in fractions:
        if name not in PARTS:
            raise SplitError(f"expected the parts train, validation and test, got {name!r}{_nearest(name)}")
    if len(fractions) < 2:
        raise SplitError(f"expected at least two parts, got {list(fractions)}; for example train=0.8 test=0.2")
    if not all(0 < share < 1 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > _SUM_TOLERANCE:
        raise SplitError(f"expected fractions above 0 that sum to 1, got {dict(fractions)}")


def check_split(manifest: Manifest, *, group: Grouping = "auto") -> None:
    """Check that no patient, slide or copy of a file is in two parts, and no synthetic image in a part that is scored.

    Images without a part are ignored. A synthetic image counts as a copy of its source image.

    Args:
        manifest: a manifest with a split.
        group: `auto` and `patient` check patients, slides and copies; `slide` slides and copies; `none` copies alone.

    Raises:
        SplitError: a leak was found, or a synthetic image in a part that is scored.
    """
    refuse_held_out(manifest, files=False)
    kinds: dict[Grouping, tuple[LeakKind, ...]] = {"slide": ("slide", "file", "source"), "none": ("file", "source")}
    found = find_leaks(manifest, kinds.get(group, ("patient", "slide", "file", "source")))
    if found:
        shown = "; ".join(
            f"{leak.kind} {leak.name!r} in {' and '.join(leak.parts)} ({', '.join(leak.paths[:_SHOWN])})"
            for leak in found[:_SHOWN]
        )
        raise SplitError(
            f"expected each patient, slide and file in one part only, got {len(found)} in several: {shown}; "
            f"split again (`{SPLIT_COMMAND}`)"
        )


def find_leaks(manifest: Manifest, kinds: Sequence[LeakKind] = ("patient", "slide", "file", "source")) -> list[Leak]:
    """Return each patient, slide, file content or source image that is in several parts, in a fixed order."""
    placed = manifest.select(pl.col("split") != "")
    needs_hashes = "file" in kinds or ("source" in kinds and any(is_synthetic(placed)))
    hashed = with_hashes(placed) if needs_hashes else placed
    keys: Mapping[LeakKind, list[str]] = {
        "patient": ["site", "patient"],
        "slide": ["site", "patient", "slide"],
        "file": ["sha256"],
        "source": ["source"],
    }
    leaks = []
    for kind in kinds:
        key = keys[kind]
        groups = (
            (_drawn_from(hashed) if kind == "source" else hashed.table)
            .filter(pl.col(key[-1]) != "")
            .group_by(key)
            .agg(pl.col("split").unique().sort(), pl.col("path").sort())
            .filter(pl.col("split").list.len() > 1)
            .sort(key)
        )
        leaks += [Leak(kind, row[key[-1]], tuple(row["split"]), tuple(row["path"])) for row in groups.to_dicts()]
    return leaks


def _drawn_from(manifest: Manifest) -> pl.DataFrame:
    """Return the table with a column `source`: the hash of the source image, for synthetic and source images."""
    drawn_from = sources(manifest)
    wanted = set(drawn_from) - {""}
    hashes = manifest.column("sha256")
    shared = [source or (own if own in wanted else "") for source, own in zip(drawn_from, hashes, strict=True)]
    return manifest.table.with_columns(pl.Series("source", shared, dtype=pl.String))


def _nearest(name: str) -> str:
    wanted = name.strip().lower()
    near = [part for part in PARTS if len(wanted) > 1 and part.startswith(wanted)]
    near += difflib.get_close_matches(wanted[:64], PARTS, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _units(manifest: Manifest, seed: int, group: Grouping, together: Iterable[Sequence[str]]) -> list[_Unit]:
    """Join rows that share a group, a file hash, a source image, or an item of `together`."""
    names = _group_names(manifest, group)
    hashes = manifest.column("sha256")
    paths = manifest.column("path")
    row_of = {path: row for row, path in enumerate(paths)}
    together = list(together)
    strangers = sorted({path for set_ in together for path in set_ if path not in row_of})
    if strangers:
        raise SplitError(f"expected only images of the manifest in `together`, got {strangers[:_SHOWN]}")
    links: list[tuple[Hashable, int]] = [(name, row) for row, name in enumerate(names)]
    links += [(("sha256", digest), row) for row, digest in enumerate(hashes)]
    links += [(("sha256", source), row) for row, source in enumerate(sources(manifest)) if source]
    links += [(("together", number), row_of[path]) for number, set_ in enumerate(together) for path in set_]
    strata = list(zip(manifest.column("site"), manifest.column("class"), strict=True))
    synthetic = is_synthetic(manifest)
    units = []
    for rows in _joined(len(names), links):
        key = min(_order_key(seed, names[row]) for row in rows)
        counts = Counter(strata[row] for row in rows if not synthetic[row])
        units.append(_Unit(key, tuple(rows), counts, any(synthetic[row] for row in rows)))
    return sorted(units, key=lambda unit: (unit.key, sorted(paths[row] for row in unit.rows)))


def _group_names(manifest: Manifest, group: Grouping) -> list[tuple[str, ...]]:
    """Return the group of each row; an image without patient and slide is its own group, by the hash of its content."""
    real = manifest.select(pl.col("origin") == "")
    sites = {site: real.select(pl.col("site") == site) for site in set(manifest.column("site"))}
    level_of = {site: _level(images, group, site) for site, images in sites.items()}
    # Slide numbers may be repeated for each patient, so a slide is that of a patient where all patients are known.
    nested = {site: all(images.column("patient")) for site, images in sites.items()}
    names: list[tuple[str, ...]] = []
    for row in manifest.table.iter_rows(named=True):
        site, level = row["site"], level_of[row["site"]]
        if level == "none" or (row["origin"] and not row[level]):
            names.append(("image", row["sha256"]))
        elif level == "slide":
            names.append(("slide", site, row["patient"] if nested[site] else "", row["slide"]))
        else:
            names.append(("patient", site, row["patient"]))
    return names


def _level(site_images: Manifest, group: Grouping, site: str) -> Literal["patient", "slide", "none"]:
    if group == "none":
        return "none"
    candidates: tuple[Literal["patient", "slide"], ...] = ("patient", "slide") if group == "auto" else (group,)
    for level in candidates:
        known = sum(name != "" for name in site_images.column(level))
        if known == len(site_images):
            return level
        if known or group != "auto":
            raise SplitError(
                f"expected the {level} of every image of site {site!r}, got {known} of {len(site_images)}; "
                f"fill in the column {level}, or choose another group"
            )
    return "none"


def _joined(count: int, links: Iterable[tuple[Hashable, int]]) -> list[set[int]]:
    """Return the connected sets of rows 0..count-1, where rows with the same key are linked."""
    rows = DisjointSet(range(count))
    first: dict[Hashable, int] = {}
    for key, row in links:
        rows.merge(row, first.setdefault(key, row))
    return list(rows.subsets())


def _order_key(seed: int, name: tuple[str, ...]) -> str:
    return hashlib.sha256(repr((seed, name)).encode()).hexdigest()


def _assign(units: Sequence[_Unit], fractions: Mapping[str, float]) -> list[str]:
    """Return the part of each unit, given in the order of their hashes; units with synthetic images go to `train`."""
    totals: Counter[Stratum] = Counter()
    for unit in units:
        totals.update(unit.counts)
    need = {stratum: {part: share * total for part, share in fractions.items()} for stratum, total in totals.items()}
    given: dict[Stratum, set[str]] = {stratum: set() for stratum in totals}
    part_of: dict[int, str] = {i: "train" for i, unit in enumerate(units) if unit.has_synthetic}
    for i in part_of:
        for name, number in units[i].counts.items():
            need[name]["train"] -= number
            given[name].add("train")
    for stratum in sorted(totals, key=lambda name: (totals[name], name)):
        waiting = [i for i, unit in enumerate(units) if stratum in unit.counts and i not in part_of]
        waiting.sort(key=lambda i: -units[i].counts[stratum])
        for left, i in zip(range(len(waiting), 0, -1), waiting, strict=True):
            empty = [part for part in fractions if part not in given[stratum]]
            parts = empty if left <= len(empty) else list(fractions)
            part = max(parts, key=need[stratum].__getitem__)
            part_of[i] = part
            for name, number in units[i].counts.items():
                need[name][part] -= number
                given[name].add(part)
    return [part_of[i] for i in range(len(units))]


def _check_classes(manifest: Manifest, parts: Sequence[str]) -> None:
    columns = (manifest.column(name) for name in ("site", "class", "split", "origin"))
    rows = list(zip(*columns, strict=True))
    counts = Counter((site, name, part) for site, name, part, origin in rows if not origin)
    for site, name in sorted({(site, name) for site, name, _, _ in rows if name}):
        empty = [part for part in parts if not counts[site, name, part]]
        if empty:
            total = sum(counts[site, name, part] for part in parts)
            raise SplitError(
                f"expected real cells of class {name!r} of site {site!r} in every part, got none in "
                f"{' and '.join(empty)} ({total} in all); leave that class out, or use fewer parts or another group"
            )
