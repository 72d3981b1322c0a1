"""Does the guard find changes of morphology that were planted, and does it leave alone what has none?

    python benchmarks/planted_changes.py --data ../shared/data
    python benchmarks/planted_changes.py --run runs/new-site-to-ours

Real cells of two laboratories at 96 px, in three parts which share no cell: normalizers are fitted and thresholds
learned on the first; a threshold of the severity that one of 300 unchanged cells exceeds is chosen on the second; the
third is scored. Printed first: for each normalizer, the share of unchanged cells of the second and third part that are
refused or warned of; normalizers can move nothing. Then changes are planted into the third part's re-stained cells
(`planters.py`), each cell re-stained by one of three normalizers in turn. Printed of each change: area under the ROC
curve of the severity against the same cells without it, share found at that threshold, share refused by the thresholds
as `hemabridge guard` learns them; * marks what a person sees at a glance.

With --run, the folder of a finished `hemabridge train` of a translator: refusals over its snapshots, by limits that are
the same for all of them (the floors), and by what each learned from the target.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from hemabridge.guard.morphology import compare
from hemabridge.guard.thresholds import Thresholds, floors, learn_normalizer_thresholds, learn_thresholds
from hemabridge.guard.verdict import Verdicts, verdicts_of
from hemabridge.imaging.compartments import Compartments, segment
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import scale_matched
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.progress import silent
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import cells_for_translation
from hemabridge.recipes.trainings import TranslatorRecipe
from hemabridge.sampling import thinned
from hemabridge.training.snapshots import list_snapshots
from planters import Change, changes

SIZE_PX = 96
SITES = {"tecom": 90, "clinic": 180}
"""Side of the square around a cell in the files of a site, in pixels."""

PLANTED_IN = ("linear-ot", "reinhard-image", "sliced-ot")
CELLS_PER_ALARM = 300
LIMITS_FROM = 150
"""Target cells, about, that the limits of each snapshot are learned from."""
ROW = "{:16s} {:14s} {:>5s} {:>7s} {:>8s} {:>8s}"


@dataclass(frozen=True, eq=False)
class Case:
    """Cells of one site re-stained by one normalizer: unchanged ones of the second part, and those to be scored."""

    thresholds: Thresholds
    calm: Verdicts
    before: UInt8Images
    after: UInt8Images
    unchanged: Verdicts


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds tecom/ and clinic/"
    )
    parser.add_argument("--cells", type=int, default=300, help="at most so many cells of each site")
    parser.add_argument("--run", type=Path, help="run folder of a translator: print its refusals by snapshot instead")
    spec = parser.parse_args()
    if spec.run is not None:
        over_snapshots(spec.run)
        return
    cells = {site: read_cells(spec.data / site, crop_px, spec.cells) for site, crop_px in SITES.items()}
    target = cells["clinic"][0::3]
    print("unchanged cells, tecom -> clinic: the second and third part")
    print(f"{'normalizer':22s} {'refused':>8s} {'warned':>8s} {'cells/s':>8s}  reasons")
    for name in NORMALIZERS:
        false_refusals(name, cells["tecom"], target)
    for site, images in cells.items():
        print(f"\n{site} -> clinic, {len(images[2::3])} cells scored, by {', '.join(PLANTED_IN)}")
        planted(images, target, cells["clinic"][1::3])


def read_cells(folder: Path, crop_px: int, count: int) -> UInt8Images:
    """Read cells of all classes of a site, drawn by a fixed seed."""
    files = sorted(path for path in folder.glob("[!_]*/*") if path.is_file())
    if not files:
        raise SystemExit(f"expected images in {folder}/<class>/, found none; check --data")
    chosen = np.random.default_rng(0).permutation(len(files))[:count]
    return np.stack([scale_matched(read_image(files[place]), crop_px, SIZE_PX) for place in chosen])


def planted(images: UInt8Images, target: UInt8Images, others: UInt8Images) -> None:
    """Print one line for each change."""
    cases = [case(name, images, target) for name in PLANTED_IN]
    calm = np.concatenate([one.calm.severity for one in cases])
    # One false alarm of 300 cells: the upper end of its 95 % Wilson interval is 1.9 %.
    limit = float(np.quantile(calm, 1 - 1 / CELLS_PER_ALARM, method="higher"))
    quiet = np.concatenate([one.unchanged.severity for one in cases])
    print(
        f"severity threshold {limit:.2f}; above it of the scored cells without a change: {np.mean(quiet > limit):.1%}; "
        f"refused of them: {np.mean(quiet > 1):.1%}"
    )
    print(ROW.format("change", "strength", "n", "AUC", "found", "refused"))
    parts = [slice(place, None, len(cases)) for place in range(len(cases))]
    masks = [segment(image) for image in cases[0].before]
    glance = []
    for change in changes(others):
        severity = np.concatenate(
            [severity_with(change, one, masks, part) for one, part in zip(cases, parts, strict=True)]
        )
        truth = np.r_[np.zeros(len(quiet)), np.ones(len(severity))]
        area = roc_auc_score(truth, np.r_[quiet, severity])
        found = float(np.mean(severity > limit))
        glance += [found] if change.at_a_glance else []
        figures = f"{len(severity)}", f"{area:.3f}", f"{found:.1%}", f"{np.mean(severity > 1):.1%}"
        print(ROW.format(change.kind, change.strength + "*" * change.at_a_glance, *figures), flush=True)
    print(f"found of what is seen at a glance: mean {np.mean(glance):.1%}, lowest {np.min(glance):.1%}")


def case(name: str, images: UInt8Images, target: UInt8Images) -> Case:
    """Fit and learn on the first part, re-stain the two others."""
    normalizer = fit_on_cells(name, images[0::3], target)
    thresholds = learn_normalizer_thresholds(name, target)
    restained = [normalizer.standardize(images[part::3]) for part in (1, 2)]
    calm, unchanged = (
        verdicts_of(compare(images[part::3], after), thresholds) for part, after in zip((1, 2), restained, strict=True)
    )
    return Case(thresholds, calm, images[2::3], restained[1], unchanged)


def severity_with(change: Change, one: Case, masks: Sequence[Compartments], part: slice) -> NDArray[np.float64]:
    """Return the severity of each cell of a part into which the change could be planted."""
    rng = np.random.default_rng(1)
    pairs = [
        (before, changed)
        for before, after, found in zip(one.before[part], one.after[part], masks[part], strict=True)
        if (changed := change.plant(after, found, rng)) is not None
    ]
    before, after = (np.stack(side) for side in zip(*pairs, strict=True))
    return verdicts_of(compare(before, after), one.thresholds).severity


def false_refusals(name: str, images: UInt8Images, target: UInt8Images) -> None:
    """Print how many cells a normalizer has refused, though it can move nothing."""
    thresholds = learn_normalizer_thresholds(name, target)
    rest = np.concatenate([images[1::3], images[2::3]])
    after = fit_on_cells(name, images[0::3], target).standardize(rest)
    started = time.process_time()
    found = verdicts_of(compare(rest, after), thresholds)
    speed = len(rest) / (time.process_time() - started)
    why = sorted({reason for row, names in enumerate(found.reasons) if found.refused[row] for reason in names})
    refused, warned = (found.count(verdict) / len(rest) for verdict in ("refuse", "warn"))
    print(f"{name:22s} {refused:8.1%} {warned:8.1%} {speed:8.0f}  {', '.join(why)}", flush=True)


def over_snapshots(run: Path) -> None:
    """Print refusals of the source's cells at each snapshot of a translator's training."""
    recipe = expect_kind(read_recipe(run / "recipe.toml"), TranslatorRecipe)
    size_px = recipe.translator.crop_px
    source, target = (cells_for_translation(site, size_px, silent) for site in (recipe.source, recipe.target))
    shown = thinned(target.images, LIMITS_FROM)
    print(f"{recipe.name}: {len(source)} source cells at {size_px} px; limits learned from {len(shown)} target cells")
    print("                     refused by             median of")
    print("snapshot            floors   own limits   structure  residual  edge displacement")
    for snapshot in list_snapshots(run):
        translator = open_model(snapshot.path).cell_standardizer()
        morphology = compare(source.images, translator.standardize(source.images))
        shares = [
            verdicts_of(morphology, limits).count("refuse") / len(source)
            for limits in (floors(), learn_thresholds(translator, shown))
        ]
        kept = [np.median(v) for v in (morphology.structure_ssim, morphology.residual, morphology.edge_displacement)]
        print(
            f"{snapshot.name:18s} {shares[0]:7.1%} {shares[1]:12.1%} {kept[0]:11.3f} {kept[1]:9.3f} {kept[2]:18.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
