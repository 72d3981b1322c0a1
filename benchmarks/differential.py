"""Do the 95 % intervals of a differential count hold the truth? `python benchmarks/differential.py --out FOLDER`.

Simulated patients with five prevalences at four hospitals, about 200 counted cells each, end to end as a hospital
does it: `hemabridge adapt` learns from labeled cells of simulated fields of a home hospital and from unlabeled cells
of the other hospital, and `hemabridge differential` counts the fields of the patients there by its run.

`--drawn N` draws many patients from cells that are found and classified once at each hospital.

`--bccd RUN BCCD` counts the fields of BCCD, taken for one patient, by a run of `hemabridge adapt` to their cells. It
prints a confusion of found, missed and classified cells against the labels of fields with one labeled leukocyte.
"""

import argparse
import csv
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy and PyTorch are loaded

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.simulate import (
    HOSPITALS,
    TARGET,
    FieldSpec,
    PaintedField,
    paint_field,
    photograph_field,
    plan_field,
)
from hemabridge.evaluation.differential_results import DifferentialResults
from hemabridge.fields.find_cells import cut_cell, find_cells
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.metrics.prevalence import Counts, Floats, estimate_shares
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapt import adapt
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE
from hemabridge.workflows.adapt.config import AdaptConfig, members
from hemabridge.workflows.differential.differential import FILE, differential

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
PREVALENCES: Mapping[str, tuple[float, ...]] = {
    "healthy": (0.01, 0.04, 0.30, 0.07, 0.58),
    "bacterial": (0.005, 0.015, 0.10, 0.05, 0.83),
    "viral": (0.01, 0.02, 0.62, 0.10, 0.25),
    "allergic": (0.02, 0.25, 0.28, 0.06, 0.39),
    "monocytosis": (0.01, 0.03, 0.22, 0.26, 0.48),
}
AWAY = ("near", "yellow-field", "pale", "overstained")
WEIGHTS = (1.0, 0.3, 0.2, 0.15, 0.1)
"""Of the cells at home: each hospital is scored by the first one at which the other three are covered to 95 %."""
HOME_FIELDS, NEW_FIELDS = 48, 24
CROP_PX = 100
"""Side of a picture of a cell: 25 um at 0.25 um per pixel."""
COUNTED_OF_A_FIELD = 11.0
"""About so many of the 20 leukocytes of a field are counted; the border cuts many of so small a field."""

SPEC = FieldSpec(um_per_px=0.25, leukocytes=20.0, areas=("monolayer", "sparse"))


def spec_of(prevalence: tuple[float, ...], seed: int) -> FieldSpec:
    """Return the settings of a patient's fields."""
    return replace(SPEC, seed=seed, prevalence=dict(zip(CLASSES, prevalence, strict=True)))


def labeled_crops(field: PaintedField, image: UInt8Image) -> Iterator[tuple[str, UInt8Image]]:
    """Yield the cells that are found in a field, with their true class."""
    found = find_cells(image)
    for cell in found.leukocytes:
        near = sorted(
            (np.hypot(one.x - cell.x, one.y - cell.y), one.kind) for one in field.objects if one.kind in CLASSES
        )
        if near and near[0][0] * field.plan.spec.um_per_px < 4.0 and not cell.border:
            yield near[0][1], resize_square(cut_cell(image, cell, found.crop_px()), CROP_PX)


def home_cells(fields: int, seed: int) -> list[tuple[str, UInt8Image]]:
    """Return labeled cells of the home hospital, all classes equally often."""
    cells: list[tuple[str, UInt8Image]] = []
    for index in range(fields):
        field = paint_field(plan_field(spec_of((0.2,) * 5, seed), index))
        cells += labeled_crops(field, photograph_field(field, HOSPITALS[TARGET]))
    return cells


def adapted_to(hospital: str, out: Path, weights: Path | None, seed: int) -> Path:
    """Adapt the home hospital's labeled cells to another hospital, without labels; return the run folder."""
    home, new, run = out / "home", out / "new" / hospital, out / "runs" / hospital
    if (run / ADAPTED_FILE).is_file():
        return run
    if not home.is_dir():
        for number, (name, image) in enumerate(home_cells(HOME_FIELDS, seed=41)):
            write_image(home / name / f"{number:04d}.png", image)
    if not new.is_dir():
        spec = spec_of(PREVALENCES["healthy"], 31)
        fields = [paint_field(plan_field(spec, index)) for index in range(NEW_FIELDS)]
        cells = [crop for one in fields for _, crop in labeled_crops(one, photograph_field(one, HOSPITALS[hospital]))]
        for number, image in enumerate(cells):
            write_image(new / f"{number:04d}.png", image)
    config = AdaptConfig.of_members(members(weights))
    adapt(home, new, run, config=config, seed=seed, fabric=start_fabric("cpu"))
    return run


def patients(cells: int, folder: Path, hospitals: Sequence[str]) -> Iterator[tuple[str, str, Path]]:
    """Write the fields of each patient, who is at one hospital; yield hospital, prevalence and folder."""
    for number, (name, prevalence) in enumerate(PREVALENCES.items()):
        for hospital in hospitals:
            spec = spec_of(prevalence, 100 + 10 * number + AWAY.index(hospital))
            for index in range(round(cells / COUNTED_OF_A_FIELD)):
                plan = plan_field(spec, index)
                path = folder / hospital / name / f"{plan.field_id}.png"
                if not path.is_file():
                    write_image(path, photograph_field(paint_field(plan), HOSPITALS[hospital]))
            yield hospital, name, folder / hospital / name


def simulated(out: Path, cells: int, weights: Path | None, hospitals: Sequence[str], seed: int) -> None:
    """Print the share of true percentages inside of their intervals."""
    print("| hospital | prevalence | cells | truth inside of corrected intervals | of counted ones | mean width |")
    print("| --- | --- | --- | --- | --- | --- |")
    inside, raw_inside = [], []
    for hospital, name, fields in patients(cells, out / "fields", hospitals):
        result = out / "counts" / hospital / name
        if (result / FILE).is_file():
            done = DifferentialResults.read(result / FILE)
        else:
            done = differential(adapted_to(hospital, out, weights, seed), fields, result)
        truth = dict(zip(CLASSES, PREVALENCES[name], strict=True))
        shares = done.shares()
        inside.append([one.low <= truth[one.name] <= one.high for one in shares])
        raw_inside.append([one.raw_low <= truth[one.name] <= one.raw_high for one in shares])
        width = np.mean([one.high - one.low for one in shares])
        print(
            f"| {hospital} | {name} | {len(done.counted)} | {sum(inside[-1])} of 5 | {sum(raw_inside[-1])} of 5 | "
            f"{width:.3f} |",
            flush=True,
        )
    print(f"\nCorrected: {np.mean(inside):.1%} of {np.size(inside)} true percentages inside. As counted: ", end="")
    print(f"{np.mean(raw_inside):.1%}.")


def drawn(out: Path, n_patients: int, weights: Path | None, seed: int) -> None:
    """Print the coverage for many patients, whose cells are drawn from cells that were found and classified once.

    At each hospital a count of fields with equal numbers of all classes gives the cells; their true classes come from
    their places. A patient has 200 of them: classes by the prevalence, then any cell of the class.
    """
    found, told = dict[str, list[Floats]](), []
    print("| hospital | site | accuracy there | weight | truth inside | mean width | widest | inside as counted |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for hospital in AWAY:
        pool, home, site = _pool(out, hospital, weights, seed)
        right = np.mean([np.mean(np.array(said) == place) for place, said in enumerate(pool)])
        found[hospital] = []
        for weight in WEIGHTS:
            inside, width, widest, raw = _covered(pool, home, weight, n_patients)
            found[hospital].append(np.array([inside, width, widest]))
            print(
                f"| {hospital} | {site} | {right:.3f} | {weight} | {inside:.1%} | {width:.3f} | {widest:.3f} | "
                f"{raw:.1%} |",
                flush=True,
            )
        right_at_home = f"{np.trace(home) / home.sum():.3f} of {home.sum()} cells at home, errors: {_errors(home)}"
        there = _errors([np.bincount(said, minlength=len(CLASSES)) for said in pool])
        told.append(f"Run for {hospital}: {right_at_home}. Errors at {hospital}: {there}.")
    _print_all(found)
    print("\n".join(told))


def _covered(pool: list[list[int]], home: Counts, weight: float, n_patients: int) -> tuple[float, float, float, float]:
    """Return the share of true percentages inside, mean and largest width, and the share inside as counted."""
    rng = np.random.default_rng(5)  # the same patients for each weight
    inside, raw, width = [], [], []
    for prevalence in PREVALENCES.values():
        for seed in range(n_patients):
            truth = rng.multinomial(200, prevalence)
            said = np.concatenate([rng.choice(pool[place], count) for place, count in enumerate(truth)])
            found = estimate_shares(np.bincount(said, minlength=len(CLASSES)), home, home_weight=weight, seed=seed)
            inside.append((found.low <= prevalence) & (prevalence <= found.high))
            raw.append((found.raw_low <= prevalence) & (prevalence <= found.raw_high))
            width.append(found.high - found.low)
    return float(np.mean(inside)), float(np.mean(width)), float(np.max(width)), float(np.mean(raw))


def _print_all(found: Mapping[str, list[Floats]]) -> None:
    """Print each weight over all hospitals, and each hospital under the weight that the other three choose."""
    for place, weight in enumerate(WEIGHTS):
        inside, width, _ = np.mean([rows[place] for rows in found.values()], axis=0)
        print(f"All hospitals, weight {weight}: {inside:.1%} inside, mean width {width:.3f}.")
    scored = []
    for hospital, rows in found.items():
        others = np.mean([[row[0] for row in found[one]] for one in found if one != hospital], axis=0)
        chosen = next((place for place, inside in enumerate(others) if inside >= 0.95), len(WEIGHTS) - 1)
        scored.append(rows[chosen])
        inside, width, widest = scored[-1]
        print(f"{hospital}: the others choose {WEIGHTS[chosen]}: {inside:.1%}, mean {width:.3f}, widest {widest:.3f}.")
    inside, width, _ = np.mean(scored, axis=0)
    print(f"All of these: {inside:.1%} inside, mean width {width:.3f}.\n")


def _errors(confusion: Sequence[NDArray[np.integer]] | Counts) -> str:
    """Return the confusions that occur, with the number of cells of the true class."""
    told = [
        f"{row[other]} of {row.sum()} {CLASSES[place]}s called {CLASSES[other]}"
        for place, row in enumerate(np.asarray(confusion))
        for other in np.flatnonzero(row)
        if other != place
    ]
    return ", ".join(told) or "none"


def _pool(out: Path, hospital: str, weights: Path | None, seed: int) -> tuple[list[list[int]], Counts, str]:
    """Return the predicted classes of cells of each true class, the confusion at home, and what the site is."""
    spec = spec_of((0.2,) * 5, 70)
    plans = [plan_field(spec, index) for index in range(16)]
    for plan in plans:
        path = out / "pools" / hospital / f"{plan.field_id}.png"
        if not path.is_file():
            write_image(path, photograph_field(paint_field(plan), HOSPITALS[hospital]))
    result = out / "pool-counts" / hospital
    done = (
        DifferentialResults.read(result / FILE)
        if (result / FILE).is_file()
        else differential(adapted_to(hospital, out, weights, seed), out / "pools" / hospital, result)
    )
    pool: list[list[int]] = [[] for _ in CLASSES]
    for plan in plans:
        cells = [cell for cell in done.counted if cell.field == f"{plan.field_id}.png"]
        for one in (one for one in plan.objects if one.kind in CLASSES):
            near = [
                cell
                for cell in cells
                if np.hypot(cell.x * spec.um_per_px - one.x_um, cell.y * spec.um_per_px - one.y_um) < one.radius_um / 2
            ]
            pool[CLASSES.index(one.kind)] += [CLASSES.index(cell.predicted) for cell in near[:1]]
    return pool, done.matrix, done.site


def bccd(run: Path, folder: Path, out: Path) -> None:
    """Print how the leukocytes of BCCD are found and named."""
    done = (
        DifferentialResults.read(out / "bccd" / FILE)
        if (out / "bccd" / FILE).is_file()
        else differential(run, folder / "fields", out / "bccd")
    )
    labels = {}
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            labels[row["field"]] = row["leukocytes"]
    named: Counter[tuple[str, str]] = Counter()
    extra = 0
    for field, label in labels.items():
        if label not in done.classes:
            continue
        cells = sorted((cell for cell in done.cells if cell.field == field), key=lambda one: -one.score)
        named[label, cells[0].predicted if cells else "missed"] += 1
        extra += len(cells[1:])
    columns = [*done.classes, "missed"]
    print(f"| label | {' | '.join(columns)} |")
    print(f"| --- |{' --- |' * len(columns)}")
    for label in done.classes:
        print(f"| {label} | {' | '.join(str(named[label, name]) for name in columns)} |")
    right, total = sum(named[name, name] for name in done.classes), sum(named.values())
    trusted = [name for name in ("lymphocyte", "monocyte", "neutrophil") if name in done.classes]
    recalls = [named[name, name] / max(1, sum(named[name, other] for other in columns)) for name in trusted]
    print(f"\n{right} of {total} labeled cells are found and named as labeled; {extra} further cells in these fields.")
    print(f"Mean recall of {', '.join(trusted)}, whose labels can be trusted: {np.mean(recalls):.3f}.")
    print("| class | percent | 95 % interval | counted | label |")
    print("| --- | --- | --- | --- | --- |")
    counted = Counter(label for label in labels.values() if label in done.classes)
    for one in done.shares():
        print(
            f"| {one.name} | {one.share:.1%} | {one.low:.1%} to {one.high:.1%} | {one.raw:.1%} | "
            f"{counted[one.name] / sum(counted.values()):.1%} |"
        )


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--weights", type=Path, help="of timm's mobilenetv2_100 [default: random, trained for longer]")
    parser.add_argument("--hospital", action="append", choices=AWAY, help="may be repeated [default: all four]")
    parser.add_argument(
        "--drawn", type=int, metavar="N", help="N patients of each prevalence, from cells classified once"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--bccd", type=Path, nargs=2, metavar=("RUN", "BCCD"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.bccd is not None:
        bccd(*given.bccd, given.out)
        return
    if given.drawn:
        drawn(given.out, given.drawn, given.weights, given.seed)
        return
    simulated(given.out, given.cells, given.weights, given.hospital or AWAY, given.seed)


if __name__ == "__main__":
    main()
