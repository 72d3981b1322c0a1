"""The order of a study's rows in the report: source and target sites, classifiers, columns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from hemabridge.errors import InputError
from hemabridge.evaluation.leaderboard_entries import LeaderboardEntry
from hemabridge.evaluation.results import Confusion, PairedTest, Row, StudyResults

ORIGINAL = "original"

_COUNTED = re.compile(r"(epoch|images)-([0-9]+)")

Column: TypeAlias = tuple[str, str | None]
"""What was classified: `images` and `snapshot` of a row."""

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """The rows of one study, looked up by their place in the tables.

    Attributes:
        source: the site whose images were re-stained.
        targets: the other sites.
        classifiers: in the order of the results; variants of them, which only the leaderboard shows, are left out.
        columns: originals first, then methods and snapshots in the order of the results.
        labels: numbers of labels of the source site that classifiers were fine-tuned on, above 0, ascending.
    """

    results: StudyResults
    source: str
    targets: tuple[str, ...]
    classifiers: tuple[str, ...]
    columns: tuple[Column, ...]
    labels: tuple[int, ...]

    def row(self, classifier: str, column: Column, labels: int = 0) -> Row | None:
        """Return the row of the source's test part, or None if it was not measured."""
        wanted = (self.source, classifier, *column, labels)
        return next((row for row in self.results.rows if row.part == "test" and _key(row) == wanted), None)

    def rows(self, labels: int) -> list[Row]:
        """Return all rows of the source's test part with that number of labels, table by table order."""
        found = (self.row(c, column, labels) for c in self.classifiers for column in self.columns)
        return [row for row in found if row is not None]

    def measured(self, labels: int) -> tuple[Column, ...]:
        """Return the columns that any classifier was tested on with that number of labels."""
        return tuple(c for c in self.columns if any(self.row(name, c, labels) for name in self.classifiers))

    @property
    def most_labels(self) -> int:
        """The largest number of labels that a classifier was fine-tuned on; 0 for none."""
        return max(self.labels, default=0)

    def entry(self, classifier: str, column: Column, labels: int = 0) -> LeaderboardEntry | None:
        """Return the leaderboard's line of that row, or None if there is none."""
        wanted = (self.source, classifier, *column, labels)
        return next((found for found in self.results.leaderboard if _key(found) == wanted), None)

    def last_column(self) -> Column | None:
        """Return the last re-staining, which the pictures show; it is not picked by its score."""
        restained = [column for column in self.columns if column[0] != ORIGINAL and column[1] is not None]
        restained = restained or [column for column in self.columns if column[0] != ORIGINAL]
        return restained[-1] if restained else None

    def has_rows(self, classifier: str, labels: int) -> bool:
        """Tell whether that classifier was tested with that number of labels."""
        return any(self.row(classifier, column, labels) for column in self.columns)

    def has_pairs(self, labels: int) -> bool:
        """Tell whether there is any paired test with that number of labels."""
        return any(test.labels_used == labels for test in self.results.paired if test.site == self.source)

    def by_classifier(self, rows: list[Row]) -> list[list[Row]]:
        """Return the rows in groups of one classifier each, in the order of the tables."""
        groups = ([row for row in rows if row.classifier == name] for name in self.classifiers)
        return [group for group in groups if group]

    def tests(self, classifier: str, labels: int) -> list[tuple[Column, PairedTest]]:
        """Return the paired tests of one classifier with that number of labels, column by column."""
        found = ((column, self.paired(classifier, column, labels)) for column in self.columns)
        return [(column, test) for column, test in found if test is not None]

    def target_rows(self) -> list[Row]:
        """Return the rows of the other sites' test parts."""
        return [row for row in self.results.rows if row.part == "test" and row.site != self.source]

    def paired(self, classifier: str, column: Column, labels: int = 0) -> PairedTest | None:
        """Return the paired test of that row, or None if there is none."""
        wanted = (self.source, classifier, *column, labels)
        return next((test for test in self.results.paired if _key(test) == wanted), None)

    def confusion(self, classifier: str, column: Column, labels: int = 0) -> Confusion | None:
        """Return the confusion counts of that row, or None if there are none."""
        wanted = (self.source, classifier, *column, labels)
        return next((found for found in self.results.confusions if _key(found) == wanted), None)

    def cells_per_class(self, site: str) -> dict[str, int]:
        """Return how many scored cells of a site each class has; empty if no confusion counts were kept."""
        for confusion in self.results.confusions:
            if confusion.site == site:
                return {name: sum(row) for name, row in zip(confusion.classes, confusion.counts, strict=True)}
        return {}


def lay_out(results: StudyResults) -> Layout:
    """Find the source site, the classifiers and the columns of a study.

    Raises:
        InputError: no test row is of re-stained images, they are of several sites, or two rows say the same thing.
    """
    tested = [row for row in results.rows if row.part == "test"]
    keys = [_key(row) for row in tested]
    if len(set(keys)) != len(keys):
        raise InputError(
            f"expected one row per site, classifier, images and labels in {results.name!r}, got some twice"
        )
    sources = _unique(row.site for row in tested if row.images != ORIGINAL)
    if len(sources) != 1:
        raise InputError(
            f"expected test rows of re-stained images of one site in {results.name!r}, got {len(sources)} sites"
        )
    own = [row for row in tested if row.site == sources[0]]
    variants = {s.classifier for s in results.leaderboard if s.variant_of != s.classifier}
    columns = _unique((row.images, row.snapshot) for row in own)
    return Layout(
        results=results,
        source=sources[0],
        targets=_unique(row.site for row in tested if row.site != sources[0]),
        classifiers=_unique(row.classifier for row in own if row.classifier not in variants),
        columns=tuple(sorted(columns, key=lambda column: column != (ORIGINAL, None))),
        labels=tuple(sorted({row.labels_used for row in own} - {0})),
    )


def column_name(column: Column) -> str:
    """Return the name of a column in the report: `original`, or the method and its snapshot.

    Snapshots of a training are named by epochs or images: `epoch-0015` is shown as `epoch 15`, and `images-00004000`
    as `4,000 images`.
    """
    images, snapshot = column
    if snapshot is None:
        return images
    counted = _COUNTED.fullmatch(snapshot)
    if counted is None:
        return f"{images} {snapshot}"
    number = int(counted[2])
    return f"{images}, epoch {number}" if counted[1] == "epoch" else f"{images}, {number:,} images"


def _key(found: Row | PairedTest | Confusion | LeaderboardEntry) -> tuple[str, str, str, str | None, int]:
    return found.site, found.classifier, found.images, found.snapshot, found.labels_used


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
