"""The leaderboard of a finished study in short: balanced accuracy over its classifiers, for each way to show the cells.

    hemabridge study recipes/clinic-from-tecom.toml        # once
    python benchmarks/leaderboard.py [--study runs/clinic-from-tecom]

Each line is one re-staining, or the originals, with so many labels of the source; classifiers with batch norm measured
again are lines of their own. Below: whether neighboring snapshots differ, by the exact McNemar test with Holm's
correction, and how many labeled originals the last snapshot saves each classifier.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hemabridge.evaluation.results import Row, StudyResults
from hemabridge.models.study_folder import StudyFolder

LEVEL = 0.05
ADABN = "AdaBN"
LINE = "{:>6s}  {:38s} {:>6s} {:>7s} {:>8s} {:>12s}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("runs/clinic-from-tecom"))
    results = StudyResults.read(StudyFolder(parser.parse_args().study).results)
    scored = {entry.site for entry in results.leaderboard}
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in results.rows:
        if row.site in scored:
            groups[row.labels_used, _shown(row)].append(row)
    rows = next(iter(groups.values()))
    print(f"{results.name}: n = {rows[0].n} cells of {', '.join(sorted(scored))}, balanced accuracy")
    print(LINE.format("labels", "", "mean", "lowest", "highest", "classifiers"))
    for (labels, shown), found in sorted(groups.items(), key=lambda group: (group[0][0], -_mean(group[1]))):
        values = [row.balanced_accuracy for row in found]
        figures = (f"{np.mean(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}", str(len(values)))
        print(LINE.format(str(labels), shown, *figures))
    _print_neighbors(results)
    for saved in results.labels_saved:
        if saved.snapshot == results.labels_saved[-1].snapshot:
            labels = "more than were tried" if saved.labels is None else f"{saved.labels:.0f}"
            print(f"{saved.images} {saved.snapshot} saves {saved.classifier} labels: {labels}")


def _print_neighbors(results: StudyResults) -> None:
    pairs: dict[tuple[str, str], list[tuple[bool, float]]] = defaultdict(list)
    for contrast in results.contrasts:
        if contrast.labels_used == 0 and ADABN not in contrast.classifier:
            pairs[contrast.first, contrast.second].append((contrast.p_holm < LEVEL, contrast.difference))
    for (first, second), found in pairs.items():
        apart, differences = sum(differ for differ, _ in found), [100 * value for _, value in found]
        print(
            f"{first} against {second}: told apart by {apart} of {len(found)} classifiers; "
            f"{min(differences):+.1f} to {max(differences):+.1f} points of accuracy"
        )


def _shown(row: Row) -> str:
    shown = row.images if row.snapshot is None else f"{row.images} {row.snapshot}"
    return f"{shown}, {ADABN}" if ADABN in row.classifier else shown


def _mean(rows: Sequence[Row]) -> float:
    return float(np.mean([row.balanced_accuracy for row in rows]))


if __name__ == "__main__":
    main()
