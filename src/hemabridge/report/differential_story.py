"""The results of a differential count as sentences for its report."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from hemabridge.evaluation.differential_results import (
    BLURRED,
    CUT,
    NO_CELL,
    ClassShare,
    CountedField,
    DifferentialResults,
)
from hemabridge.report.story import percent

FEWEST: Final = 100
"""With fewer counted cells the report warns. Manual differentials count 100, the reference method (CLSI H20-A2) 200."""

CONFUSED: Final = 0.02
"""Confusions of at least this share of a class's cells at home are listed."""

WIDE: Final = 170
"""Width of the picture of the intervals, in its units."""


def headline(results: DifferentialResults) -> str:
    """Return the number of cells and the three largest shares in one line."""
    shares = sorted(results.shares(), key=lambda one: -one.share)
    told = ", ".join(f"{one.name} {percent(one.share)}" for one in shares[:3])
    return f"{len(results.counted)} leukocytes counted: {told}." if results.counted else "No leukocyte was counted."


def first_words(results: DifferentialResults) -> str:
    """Return the first sentences, above all numbers, where the count cannot be trusted; empty where it can."""
    if not results.distrusted:
        return ""
    return (
        f"Do not trust this count: the cells are {results.site_fact}. Check every counted cell by eye (`hemabridge "
        "check OUT`), or adapt a model to this hospital (`hemabridge adapt OURS OUT/found/cells --out RUN "
        "--weights download`)."
    )


def sentences(results: DifferentialResults) -> Iterator[str]:
    """Yield what speaks against the model, which cells were counted, which were not, and what the intervals cover."""
    yield from results.cautions
    if results.site == "borderline":
        yield (
            f"CAUTION: the cells are {results.site_fact}. Check some by eye before you use these percentages: the "
            "classifier may make other errors here than at its own hospital."
        )
    used = [field for field in results.fields if field.used]
    yield (
        f"{len(results.cells)} leukocytes were found in {len(results.fields)} files. {len(used)} fields are fit for a "
        f"count, and {len(results.counted)} of their cells are counted."
    )
    yield from _not_counted(results)
    if 0 < len(results.counted) < FEWEST:
        yield f"Fewer than {FEWEST} cells were counted: photograph more fields."
    touching = sum(cell.cluster for cell in results.counted)
    if touching:
        yield f"{touching} of the counted cells touch another leukocyte; each was cut out and classified by itself."
    refused = sum(cell.guard == "refuse" for cell in results.counted)
    if refused:
        yield f"The morphology guard refuses the re-staining of {refused} counted cells: see the originals."
    yield _intervals(results)
    yield _checked(results)


def _not_counted(results: DifferentialResults) -> Iterator[str]:
    used = {field.field for field in results.fields if field.used}
    border = sum(cell.left_out == CUT for cell in results.cells)
    if border:
        yield f"{border} cells that the border of a field cuts are classified and not counted."
    blurred = sum(cell.left_out.startswith(BLURRED) for cell in results.cells if cell.field in used)
    if blurred:
        yield f"{blurred} blurred cells of sharp fields are classified and not counted."
    unknown = sum(bool(cell.unknown) and cell.expert is None for cell in results.counted)
    if unknown:
        yield (
            f"{unknown} of the counted cells are what `hemabridge run` calls unknown; each counts as its most probable "
            "class until an expert has seen it."
        )
    struck = sum(cell.expert == NO_CELL for cell in results.cells)
    if struck:
        yield f"{struck} objects that an expert called no leukocyte are not counted."


def _intervals(results: DifferentialResults) -> str:
    if not results.confusion:
        return (
            "The intervals cover counting error only, since the model states no confusion matrix of its own hospital. "
            "Give labeled cells (--home) to add the classifier's own errors."
        )
    told = (
        f"The percentages are corrected by the classifier's confusion on {results.confusion_from}. The 95 % intervals "
        "cover counting error and confusion. "
    )
    if results.home_weight == 1.0:
        return f"{told}They are valid only if the classifier makes the same errors here as there."
    wide, narrow = (_mean_width(shares) for shares in (results.shares(), results.shares(is_like_home=True)))
    return (
        f"{told}Since the site is {results.site}, they allow for other errors of the classifier, which makes them "
        f"{100 * wide:.1f} percentage points wide in the mean; {100 * narrow:.1f} if it were in-distribution. Each "
        f"cell of the confusion counts as {results.home_weight:g}. They can still miss the truth if one class is "
        "confused far more often than there."
    )


def _mean_width(shares: Sequence[ClassShare]) -> float:
    return sum(one.high - one.low for one in shares) / len(shares)


def _checked(results: DifferentialResults) -> str:
    seen = sum(cell.expert is not None for cell in results.cells)
    if not seen:
        return "No expert has checked the cells yet: `hemabridge check OUT` serves a page for that."
    changed = sum(cell.expert not in (None, cell.predicted) for cell in results.cells)
    return f"An expert has seen {seen} cells and changed {changed}; these count as certain."


def quality(results: DifferentialResults) -> list[str]:
    """Return the numbers of red cells and platelets in the fields that are used."""
    used = [field for field in results.fields if field.used]
    red = sorted(field.red_cells for field in used if field.red_cells is not None)
    if not red:
        return ["No field is fit for a count."]
    platelets = sorted(field.platelets for field in used)
    total_red = sum(red)
    per_1000 = f" ({1000 * sum(platelets) / total_red:.0f} per 1000 red cells)" if total_red else ""
    return [
        f"Red cells per field: median {red[len(red) // 2]}, {red[0]} to {red[-1]}.",
        f"Platelets per field: median {platelets[len(platelets) // 2]}, {platelets[0]} to {platelets[-1]}{per_1000}; "
        "clumps are not counted among them.",
        f"Leukocytes per field: {sum(field.leukocytes for field in used) / len(used):.1f}. "
        f"Smudge cells: {sum(field.smudges for field in used)}.",
        *_sizes(results),
    ]


def _sizes(results: DifferentialResults) -> Iterator[str]:
    """Yield the median diameters of the nuclei and the cells of each class."""
    told = []
    for name in dict.fromkeys(cell.class_name for cell in sorted(results.counted, key=lambda cell: cell.class_name)):
        own = [cell for cell in results.counted if cell.class_name == name]
        whole = [cell.cell_um for cell in own if cell.cell_um is not None]
        if whole:
            told.append(f"{name} {median(cell.diameter_um for cell in own):.1f} and {median(whole):.1f}")
    if told:
        yield f"Diameter of nucleus and cell in µm, median: {', '.join(told)}."


def left_out(results: DifferentialResults) -> list[CountedField]:
    """Return the fields that are not used."""
    return [field for field in results.fields if not field.used]


def left_out_kinds(results: DifferentialResults) -> str:
    """Return how many files are not used, by their status."""
    kinds = Counter(field.status for field in left_out(results))
    return ", ".join(f"{count} {status}" for status, count in sorted(kinds.items()))


def failure_modes(results: DifferentialResults) -> list[str]:
    """Return which classes the classifier confuses at its own hospital, the most frequent confusion first."""
    found = []
    for name, row in zip(results.classes, results.confusion, strict=False):
        total = sum(row)
        for other, count in zip(results.classes, row, strict=True):
            if total and other != name and count / total >= CONFUSED:
                found.append((count / total, f"{count} of {total} cells of {name} are classified as {other}"))
    return [told for _, told in sorted(found, key=lambda one: -one[0])]


def against_manual(one: ClassShare) -> str:
    """Return whether the interval is as narrow as that of an errorless count of 100 or 200 cells."""
    width = one.high - one.low
    if width <= one.of_200[1] - one.of_200[0]:
        return "as good as 200 cells"
    return "as good as 100 cells" if width <= one.of_100[1] - one.of_100[0] else "wider than 100 cells"


def place(share: float) -> str:
    """Return where a share lies in the picture of the intervals, in its units."""
    return f"{WIDE * share:.1f}"
