"""The paper's own counts and figures, and tables in Markdown that show them beside those of a run of ours."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from hemabridge.evaluation.results import Confusion, Row, StudyResults
from hemabridge.models.study_folder import StudyFolder
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.synthesis import SynthesisRecipe
from hemabridge.synthesis.pair_results import FILE, SynthesisResults

Counts: TypeAlias = Mapping[str, Mapping[str, int]]
"""Images of each part, by class."""

RECIPES: Final = Path(__file__).resolve().parents[1] / "recipes"

CLINIC: Final[Counts] = {
    "abnormal_lymphocyte": {"train": 1026, "validation": 243, "test": 69},
    "reactive_lymphocyte": {"train": 439, "validation": 112, "test": 102},
    "blast": {"train": 866, "validation": 227, "test": 93},
}
"""Table 1."""

HGTP: Final[Counts] = {
    "abnormal_lymphocyte": {"train": 22, "test": 25},
    "reactive_lymphocyte": {"train": 27, "test": 30},
    "blast": {"train": 43, "test": 37},
}
"""Table 2. It prints 27 abnormal lymphocytes in the test part: only 25 fit its sums, Table 4 and Figure 5."""

PAIRS: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = {
    "smzl": {"train": (1000, 799), "test": (583, 287)},
    "mcl": {"train": (800, 800), "test": (381, 286)},
    "blast": {"train": (1040, 987), "test": (200, 100)},
}
"""Table 3: images of the abnormal class and of normal lymphocytes, by part."""

BLOCK_3: Final[Counts] = {
    "normal_lymphocyte": {"train": 888, "validation": 99, "test": 287},
    "smzl": {"train": 900, "validation": 100, "test": 583},
    "mcl": {"train": 720, "validation": 80, "test": 381},
    "blast": {"train": 936, "validation": 104, "test": 200},
}
"""Table 3 for one site with all four classes. A tenth of the training part is validation, which the paper lacks."""

FEWEST: Final = 6
"""A part keeps so many images, however far the counts are reduced."""

EPOCHS: Final = (15, 20)
"""Of Table 4."""

TABLE_4: Final[Mapping[str, tuple[int, int, int]]] = {
    "ResNet18": (29, 54, 49),
    "ResNet18 focal": (42, 63, 54),
    "ResNet34": (26, 51, 49),
    "ResNet34 focal": (28, 62, 49),
    "ResNet34_NoSIND": (32, 75, 69),
}
"""Images classified correctly of 92: original, 15 epochs, 20 epochs. Divided by 92 they are the paper's four digits."""

SCORED: Final = 92

FIGURE_5: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.47, 0.10, 0.43))
"""Rows: true class, abnormal lymphocyte, blast, reactive lymphocyte; columns: what ResNet34_NoSIND said, 15 epochs."""

DAY: Final = 86_400


def divided(counts: Counts, by: int) -> Counts:
    """Return fewer images of each class and part, but at least `FEWEST`."""
    return {
        name: {part: max(FEWEST, round(number / by)) for part, number in parts.items()}
        for name, parts in counts.items()
    }


def print_counts(clinic: int, hgtp: int, block_3: int) -> None:
    """Print Tables 1 to 3, and what becomes of them."""
    sites = (("1, Clinic", CLINIC, clinic), ("2, HGTP", HGTP, hgtp), ("3, Clinic", BLOCK_3, block_3))
    rows = [
        (f"{table}: {name}", part, str(number), str(divided(counts, by)[name][part]))
        for table, counts, by in sites
        for name, parts in counts.items()
        for part, number in parts.items()
    ]
    print_table("Tables 1 to 3: images", ("table, class", "part", "paper", "here"), rows)


def print_block_1(folder: Path) -> None:
    """Print what became of morphology and color at each tested epoch."""
    results = _read(folder)
    rows = [
        (
            str(check.snapshot),
            *(str(count) for count in (check.passed, check.warned, check.refused)),
            str(results.facts[f"structure kept, {check.snapshot}"]).split(" ", 3)[2],
        )
        for check in results.guard
        if check.snapshot is not None
    ]
    title = "Block 1: the guard's verdicts on the test images, and the median SSIM of their luminance"
    print_table(title, ("snapshot", "pass", "warn", "refuse", "SSIM"), rows)


def print_table_4(folder: Path) -> None:
    """Print each accuracy of Table 4, the paper's and ours."""
    results = _read(folder)
    rows = []
    for name, counts in TABLE_4.items():
        paper = [f"{count / SCORED:.4f}" for count in counts]
        ours = [accuracy(row_of(results, name, epoch)) for epoch in (None, *EPOCHS)]
        rows.append((name, *paper, *ours))
    header = ("original", *(f"{epoch} epochs" for epoch in EPOCHS))
    titles = ("classifier", *(f"paper, {one}" for one in header), *(f"here, {one}" for one in header))
    print_table(f"Table 4: accuracy; here of {row_of(results, 'ResNet18', None).n} images", titles, rows)


def print_figure_5(folder: Path) -> None:
    """Print the normalized confusion matrix of ResNet34_NoSIND after 15 epochs, the paper's and ours."""
    found = confusion_of(_read(folder), "ResNet34_NoSIND", EPOCHS[0])
    rows = [
        (name, *(f"{value:.2f}" for value in paper), *(f"{count / sum(counts):.2f}" for count in counts))
        for name, paper, counts in zip(found.classes, FIGURE_5, found.counts, strict=True)
    ]
    header = ("true class", *(f"paper, {one}" for one in found.classes), *(f"here, {one}" for one in found.classes))
    print_table("Figure 5: share of each true class, ResNet34_NoSIND, 15 epochs", header, rows)


def print_fine_tuning(folder: Path) -> None:
    """Print the accuracies after the second fine-tuning, of which the paper says that all are 0.9 or more."""
    results = _read(folder)
    rows = [row for row in results.rows if row.labels_used]
    labels = rows[0].labels_used
    shown = list(dict.fromkeys(row.snapshot or row.images for row in rows))
    names = list(dict.fromkeys(row.classifier for row in rows))
    found = {(row.classifier, row.snapshot or row.images): accuracy(row) for row in rows}
    lines = [(name, *(found[name, images] for images in shown)) for name in names]
    print_table(f"Fine-tuning again on {labels} labeled images (paper: each at least 0.90)", ("", *shown), lines)


def print_block_3(folder: Path) -> None:
    """Print what was measured of each direction; the paper looked at the pictures."""
    results = SynthesisResults.read(folder / FILE)
    rows = [
        (
            f"{found.source_class} to {found.intended_class}",
            found.snapshot,
            f"{found.intended.value:.3f}",
            f"{found.intended_source.value:.3f}",
            f"{found.intended_real.value:.3f}",
            f"{found.kid.value:.3f}",
            f"{found.kid_floor.value:.3f}",
            f"{found.copies.synthetic.count} of {found.copies.synthetic.n}",
        )
        for pair in results.pairs
        for found in pair.directions
    ]
    header = ("direction", "snapshot", "scored as intended", "untranslated", "real", "KID", "floor", "copies")
    print_table("Block 3", header, rows)


def print_cost(seconds: float) -> None:
    """Print how many steps the full size takes, and how long they take at so many seconds each."""
    study = expect_kind(read_recipe(RECIPES / "paper.toml"), StudyRecipe)
    synthesis = expect_kind(read_recipe(RECIPES / "synthesis-paper.toml"), SynthesisRecipe)
    images = study.translator.epoch_images or 0
    steps = {f"Block 1, {epoch} epochs of {images}": epoch * images for epoch in study.tested_epochs}
    every = synthesis.translator.constant_epochs + synthesis.translator.decay_epochs
    for pair, parts in PAIRS.items():
        epoch_images = max(parts["train"])
        steps[f"Block 3, {pair}, {every} epochs of {epoch_images}"] = every * epoch_images
    rows = [(name, f"{count:,}", f"{count * seconds / DAY:.1f}") for name, count in steps.items()]
    print_table(f"Full size, {seconds:g} s a step", ("training", "steps", "days"), rows)


def row_of(results: StudyResults, classifier: str, epoch: int | None) -> Row:
    """Return a row of Table 4: without labels, original or after so many epochs."""
    snapshot = None if epoch is None else f"epoch-{epoch:04d}"
    scored = {entry.site for entry in results.leaderboard}
    (found,) = (
        row
        for row in results.rows
        if row.site in scored
        and (row.classifier, row.labels_used, row.snapshot) == (classifier, 0, snapshot)
        and (snapshot is not None or row.images == "original")
    )
    return found


def confusion_of(results: StudyResults, classifier: str, epoch: int) -> Confusion:
    """Return the counts of a row of Table 4."""
    wanted = (classifier, 0, f"epoch-{epoch:04d}")
    (found,) = (each for each in results.confusions if (each.classifier, each.labels_used, each.snapshot) == wanted)
    return found


def accuracy(row: Row) -> str:
    """Return an accuracy as tables show it.

    Raises:
        ValueError: it is no number.
    """
    if not math.isfinite(row.accuracy):
        raise ValueError(f"expected an accuracy, got {row.accuracy}: {row}")
    return f"{row.accuracy:.4f}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")


def _read(folder: Path) -> StudyResults:
    return StudyResults.read(StudyFolder(folder).results)
