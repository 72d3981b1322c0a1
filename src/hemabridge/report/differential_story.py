"""The results of a differential count as sentences for its report, in English and in Spanish.

A language is a code of `evaluation.languages.LANGUAGES`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
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
from hemabridge.evaluation.languages import class_in, stored_in
from hemabridge.report.story import percent

TEXTS: Final[Mapping[str, Mapping[str, str]]] = json.loads(
    files(__package__).joinpath("differential_texts.json").read_text(encoding="utf-8")
)
"""Texts by key, then by language; fields are in braces."""

FEWEST: Final = 100
"""With fewer counted cells the report warns. Manual differentials count 100, the reference method (CLSI H20-A2) 200."""

CONFUSED: Final = 0.02
"""Confusions of at least this share of a class's cells at home are listed."""

WIDE: Final = 170
"""Width of the picture of the intervals, in its units."""


def said(language: str, key: str, **fields: object) -> str:
    """Return a text of the catalog with its fields filled in.

    >>> said("es", "range", low="1.0%", high="2.0%")
    '1.0% a 2.0%'
    """
    return TEXTS[key][language].format(**fields)


def headline(results: DifferentialResults, language: str = "en") -> str:
    """Return the number of cells and the three largest shares in one line."""
    if not results.counted:
        return said(language, "headline_none")
    shares = sorted(results.shares(), key=lambda one: -one.share)
    told = ", ".join(f"{class_in(language, one.name)} {percent(one.share)}" for one in shares[:3])
    return said(language, "headline", cells=len(results.counted), shares=told)


def first_words(results: DifferentialResults, language: str = "en") -> str:
    """Return the first sentences, above all numbers, where the count cannot be trusted; empty where it can."""
    if not results.distrusted:
        return ""
    return said(language, "distrusted", fact=stored_in(language, results.site_fact))


def sentences(results: DifferentialResults, language: str = "en") -> Iterator[str]:
    """Yield what speaks against the model, which cells were counted, which were not, and what the intervals cover."""
    for caution in results.cautions:
        yield stored_in(language, caution)
    if results.site == "borderline":
        yield said(language, "borderline", fact=stored_in(language, results.site_fact))
    yield said(
        language,
        "found",
        cells=len(results.cells),
        files=len(results.fields),
        used=sum(field.used for field in results.fields),
        counted=len(results.counted),
    )
    used = {field.field for field in results.fields if field.used}
    counted = results.counted
    for key, cells in (
        ("cut", sum(cell.left_out == CUT for cell in results.cells)),
        ("blurred", sum(cell.left_out.startswith(BLURRED) for cell in results.cells if cell.field in used)),
        ("unknown", sum(bool(cell.unknown) and cell.expert is None for cell in counted)),
        ("struck", sum(cell.expert == NO_CELL for cell in results.cells)),
        ("few", int(0 < len(counted) < FEWEST)),
        ("touching", sum(cell.cluster for cell in counted)),
        ("refused", sum(cell.guard == "refuse" for cell in counted)),
    ):
        if cells:
            yield said(language, key, cells=cells, fewest=FEWEST)
    yield _intervals(results, language)
    yield _checked(results, language)


def _intervals(results: DifferentialResults, language: str) -> str:
    if not results.confusion:
        return said(language, "counting_error_only")
    told = said(language, "corrected", cells=stored_in(language, results.confusion_from))
    if results.home_weight == 1.0:
        return f"{told} {said(language, 'same_errors')}"
    wide, narrow = (_mean_width(shares) for shares in (results.shares(), results.shares(is_like_home=True)))
    further = said(
        language,
        "other_errors",
        site=stored_in(language, results.site),
        wide=f"{100 * wide:.1f}",
        narrow=f"{100 * narrow:.1f}",
        weight=f"{results.home_weight:g}",
    )
    return f"{told} {further}"


def _mean_width(shares: Sequence[ClassShare]) -> float:
    return sum(one.high - one.low for one in shares) / len(shares)


def _checked(results: DifferentialResults, language: str) -> str:
    seen = sum(cell.expert is not None for cell in results.cells)
    if not seen:
        return said(language, "unchecked")
    changed = sum(cell.expert not in (None, cell.predicted) for cell in results.cells)
    return said(language, "checked", cells=seen, changed=changed)


def quality(results: DifferentialResults, language: str = "en") -> list[str]:
    """Return the numbers of red cells and platelets in the fields that are used."""
    used = [field for field in results.fields if field.used]
    red = sorted(field.red_cells for field in used if field.red_cells is not None)
    if not red:
        return [said(language, "no_field")]
    platelets = sorted(field.platelets for field in used)
    total_red = sum(red)
    rate = said(language, "per_1000", rate=f"{1000 * sum(platelets) / total_red:.0f}") if total_red else ""
    mean = sum(field.leukocytes for field in used) / len(used)
    return [
        said(language, "red_cells", median=red[len(red) // 2], least=red[0], most=red[-1]),
        said(
            language,
            "platelets",
            median=platelets[len(platelets) // 2],
            least=platelets[0],
            most=platelets[-1],
            rate=rate,
        ),
        said(language, "leukocytes", mean=f"{mean:.1f}", smudges=sum(field.smudges for field in used)),
        *_sizes(results, language),
    ]


def _sizes(results: DifferentialResults, language: str) -> Iterator[str]:
    """Yield the median diameters of the nuclei and the cells of each class."""
    told = []
    for name in dict.fromkeys(cell.class_name for cell in sorted(results.counted, key=lambda cell: cell.class_name)):
        own = [cell for cell in results.counted if cell.class_name == name]
        whole = [cell.cell_um for cell in own if cell.cell_um is not None]
        if whole:
            nucleus = f"{median(cell.diameter_um for cell in own):.1f}"
            told.append(
                said(language, "size", name=class_in(language, name), nucleus=nucleus, cell=f"{median(whole):.1f}")
            )
    if told:
        yield said(language, "sizes", sizes=", ".join(told))


def left_out(results: DifferentialResults) -> list[CountedField]:
    """Return the fields that are not used."""
    return [field for field in results.fields if not field.used]


def left_out_kinds(results: DifferentialResults, language: str = "en") -> str:
    """Return how many files are not used, by their status."""
    kinds = Counter(field.status for field in left_out(results))
    return ", ".join(f"{count} {stored_in(language, status)}" for status, count in sorted(kinds.items()))


def reason(field: CountedField, language: str = "en") -> str:
    """Return why a field is not used; of a file that cannot be read, whose message is English, where that stands."""
    if language != "en" and field.status == "unreadable":
        return said(language, "unreadable")
    return stored_in(language, field.reason)


def failure_modes(results: DifferentialResults, language: str = "en") -> list[str]:
    """Return which classes the classifier confuses at its own hospital, the most frequent confusion first."""
    found = []
    for name, row in zip(results.classes, results.confusion, strict=False):
        total = sum(row)
        for other, count in zip(results.classes, row, strict=True):
            if total and other != name and count / total >= CONFUSED:
                named = {"name": class_in(language, name), "other": class_in(language, other)}
                found.append((count / total, said(language, "confused", count=count, total=total, **named)))
    return [told for _, told in sorted(found, key=lambda one: -one[0])]


def against_manual(one: ClassShare, language: str = "en") -> str:
    """Return whether the interval is as narrow as that of an errorless count of 100 or 200 cells."""
    width = one.high - one.low
    if width <= one.of_200[1] - one.of_200[0]:
        return said(language, "as_200")
    return said(language, "as_100" if width <= one.of_100[1] - one.of_100[0] else "wider")


def place(share: float) -> str:
    """Return where a share lies in the picture of the intervals, in its units."""
    return f"{WIDE * share:.1f}"
