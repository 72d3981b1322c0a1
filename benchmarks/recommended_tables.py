"""What `benchmarks/recommended.py` prints and draws of its results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.metrics.classification import confusion_counts

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
RECOMMENDED = "recommended"
COLUMNS = 6
"""Cells side by side in the picture."""

Answers = Mapping[str, Any]


def print_table(name: str, test: CellSet, seen: int, answers: Sequence[Answers]) -> None:
    """Print each arm's balanced accuracy over the pairs of starts, the confusion matrix, and what it cost."""
    print(f"\n{name}: n = {len(test)} scored, {seen} seen unlabeled, {len(answers)} pairs of seeds")
    print(f"{'':44s} {'mean':>6s} {'lowest':>7s} {'highest':>8s} {'pairs':>5s}   mean recall of {', '.join(CLASSES)}")
    for arm in dict.fromkeys(arm for found in answers for arm in found["scores"]):
        runs = [found["scores"][arm] for found in answers if arm in found["scores"]]
        values = [run["balanced"] for run in runs]
        recalls = np.mean([run["recall"] for run in runs], axis=0)
        shown = " ".join(f"{recall:.2f}" for recall in recalls)
        print(f"{arm:44s} {np.mean(values):6.3f} {min(values):7.3f} {max(values):8.3f} {len(runs):5d}   {shown}")
    print("re-stainings kept:", "; ".join(sorted({", ".join(found["kept"]) for found in answers})))
    subdomains = sorted(
        {tried.rpartition(" on ")[2] for found in answers for tried in found["soft_agreement"] if " on " in tried}
    )
    print("subdomains of the source, by the color of the empty field:", ", ".join(subdomains) or "one")
    shape = Counter(found["shape"] for found in answers)
    print("shape members:", "; ".join(f"{how} ({count})" for how, count in sorted(shape.items())))
    for arm in answers[0]["gradient correlation"]:
        kept = [found["gradient correlation"][arm] for found in answers]
        print(f"gradient correlation to the input, median over cells, {arm}: {min(kept):.3f} to {max(kept):.3f}")
    for part in answers[0]["cpu seconds"]:
        print(f"CPU seconds, {part}: {max(found['cpu seconds'][part] for found in answers):.0f} at most")
    _print_confusion(test, answers)
    always = wrong_always(test, answers)
    listed = ", ".join(f"{test.ids[place]} ({predicted})" for place, predicted in always)
    print(f"wrong with every pair of seeds ({len(always)}): {listed}", flush=True)


def wrong_always(test: CellSet, answers: Sequence[Answers]) -> list[tuple[int, str]]:
    """Return the cells that no pair of starts classifies as labeled: their place, and the commonest predicted class."""
    predicted = _predicted(answers)
    places = np.flatnonzero((predicted != test.labels).all(axis=0))
    most = [Counter(predicted[:, place].tolist()).most_common(1)[0][0] for place in places]
    return [(int(place), CLASSES[label]) for place, label in zip(places, most, strict=True)]


def still_wrong(test: CellSet, answers: Sequence[Answers]) -> UInt8Image:
    """Return a picture of the cells that are always wrong: the label above, the predicted class below.

    Args:
        test: the scored cells, uint8[N, S, S, 3] large enough to look at.
        answers: of all pairs of starts.
    """
    always = wrong_always(test, answers)
    sheets = [always[first : first + COLUMNS] for first in range(0, len(always), COLUMNS)]
    empty = np.full_like(test.images[0], 255)
    pictures = []
    for line in sheets:
        cells = [test.images[place] for place, _ in line] + [empty] * (COLUMNS - len(line))
        names = [
            f"{CLASSES[test.labels[place]]}_{test.ids[place].rsplit('/', 1)[-1]}_predicted {predicted}"
            for place, predicted in line
        ]
        pictures.append(draw_sheet([cells], [""], names + [""] * (COLUMNS - len(line))))
    return np.concatenate(pictures) if pictures else empty


def _print_confusion(test: CellSet, answers: Sequence[Answers]) -> None:
    counts = sum(
        confusion_counts(test.labels, np.asarray(found, dtype=np.int64), len(CLASSES)) for found in _predicted(answers)
    )
    print(f"confusion of `{RECOMMENDED}`, counts over all pairs; a row is a label")
    print(f"{'':12s}" + "".join(f"{name:>12s}" for name in CLASSES))
    for name, row in zip(CLASSES, np.asarray(counts), strict=True):
        print(f"{name:12s}" + "".join(f"{count:12d}" for count in row))


def _predicted(answers: Sequence[Answers]) -> np.ndarray:
    return np.array([found["scores"][RECOMMENDED]["predicted"] for found in answers])
