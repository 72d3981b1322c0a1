"""The run folder for daily use, with a classifier that learned labels in the place of the one that did not."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.evaluation.label_results import LabelResults
from hemabridge.imaging.files import read_image, write_image
from hemabridge.metrics.classification import balanced_accuracy, confusion_counts
from hemabridge.models import open_model
from hemabridge.models.guard_file import guard_path
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write, copy_file
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, EXAMPLES
from hemabridge.workflows.adapt.certainty import quantiles_of, unknown_limit
from hemabridge.workflows.label.finished_run import AdaptRun
from hemabridge.workflows.label.hospital import Hospital
from hemabridge.workflows.label.learned import CLASSIFIER

RUN: Final = "run"
"""What `hemabridge run` and `hemabridge export` take."""
_NORMALIZER: Final = "normalizer.json"

EXAMPLE_IMAGES: Final = 32
"""Number of example images, as many as `hemabridge export` compares on."""

EXAMPLE_CROPS: Final = 2
"""Side of an example image, in sides of the square around a cell; more is not needed, and photographs are large."""


def write_run(hospital: Hospital, run: AdaptRun, results: LabelResults, classifier: Path, folder: Path) -> None:
    """Write the files of a finished run: the classifier, the re-stainer with its guard, examples, and `adapted.json`.

    Args:
        hospital: the cells of the other hospital.
        run: the run from which the labeling began.
        results: of the labels.
        classifier: the file of the classifier that learned them.
        folder: replaced file by file.
    """
    source = hospital.source
    folder.mkdir(exist_ok=True)
    _write_examples(hospital, folder / EXAMPLES)
    copy_file(classifier, folder / CLASSIFIER)
    normalizer = run.adapted.file(run.folder, run.adapted.normalizer)
    copy_file(normalizer, folder / _NORMALIZER)
    if run.adapted.guarded:
        copy_file(guard_path(normalizer), guard_path(folder / _NORMALIZER))
    trained, (_, home) = open_model(classifier).classifier, run.home
    at_home, there = trained.probabilities(home.images), trained.probabilities(source.images).max(axis=1)
    predicted = at_home.argmax(axis=1).astype(np.int64)
    confusion = confusion_counts(home.labels, predicted, len(home.classes))
    total, summary = sum(results.after.counts.values()), results.classifier
    adapted = replace(
        run.adapted,
        source=results.folder,
        source_cells=len(source),
        source_labels=len(results.used_cells),
        crop_px=int(source.crop_px),
        classifier=CLASSIFIER,
        normalizer=_NORMALIZER,
        home_accuracy=balanced_accuracy(home.labels, predicted, len(home.classes)),
        home_scored=len(home),
        home_confusion=tuple(map(tuple, confusion.tolist())),
        same_class=0.0 if summary is None else summary.same_class,
        prevalence={name: count / total for name, count in results.after.counts.items()},
        unknown_below=unknown_limit(at_home.max(axis=1), there),
        certainties=quantiles_of(there),
    )
    with atomic_write(folder / ADAPTED_FILE) as temporary:
        temporary.write_text(adapted.to_json(), encoding="utf-8")


def _write_examples(hospital: Hospital, folder: Path) -> None:
    """Write the middle of some images, without their names and metadata."""
    folder.mkdir(exist_ok=True)
    files = dict(zip(hospital.manifest.column("path"), hospital.manifest.paths(), strict=True))
    names = hospital.cells.paths
    for number, place in enumerate(evenly_spaced(len(names), EXAMPLE_IMAGES), 1):
        image = read_image(files[names[place]])
        side = EXAMPLE_CROPS * int(hospital.source.crop_px)
        top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
        write_image(folder / f"{number:02d}.png", image[top : top + side, left : left + side])


def remove_run(folder: Path) -> None:
    """Remove what `write_run` wrote, if there is such a folder."""
    for name in (ADAPTED_FILE, CLASSIFIER, guard_path(Path(_NORMALIZER)).name, _NORMALIZER):
        (folder / name).unlink(missing_ok=True)
    if (folder / EXAMPLES).is_dir():
        shutil.rmtree(folder / EXAMPLES)
    if folder.is_dir():
        folder.rmdir()
