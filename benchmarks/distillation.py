"""What a distilled color model keeps of its teacher: colors, accuracy and speed, as a Markdown table.

    python benchmarks/distillation.py
    python benchmarks/distillation.py --teacher TEACHER --train FOLDER --test FOLDER --classifier SNAPSHOT --crop-px 90

The first simulates a source and a target hospital, fits closed-form teachers, and trains a small classifier on the
target; a few minutes on one core. The second takes any re-stainer (a snapshot, or a normalizer's JSON), images of the
source to distil on, others of the source with one folder per class to test on, and a classifier of the target.

Everything runs on one thread; run it on a machine that does nothing else.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy and PyTorch are loaded

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.data.index import index_folder
from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.metrics.closeness import mean_delta_e_2000
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.student import distill
from hemabridge.workflows.train import open_teacher

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
SOURCE = "yellow-field"
SIZE_PX = 96
SIMULATED_PX = 64
TEACHERS = ("sliced-ot", "vahadane")
STUDENTS: Mapping[str, Mapping[str, object]] = {
    "pixel": {"kind": "pixel"},
    "pixel, conditioned": {"kind": "pixel", "conditioned": True},
    "bilateral": {"kind": "bilateral"},
}
HEADINGS = ("teacher", "student", "CIEDE2000", "images/s", "times as fast", "balanced accuracy", "lost")


@dataclass(frozen=True, eq=False)
class Case:
    """A teacher, and the cells and the classifier that it and its students are compared by."""

    name: str
    teacher: Standardizer
    digest: str
    train: CellSet
    test: CellSet
    classifier: Classifier


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, told in (
        ("--teacher", "a snapshot, or the JSON of a normalizer"),
        ("--train", "folder of the source's images, one folder per class"),
        ("--test", "folder of other images of the source"),
        ("--classifier", "snapshot of a classifier of the target"),
    ):
        parser.add_argument(name, type=Path, help=told)
    parser.add_argument("--crop-px", type=int, help="square around a cell in the source's images")
    chosen = parser.parse_args()
    given = [chosen.teacher, chosen.train, chosen.test, chosen.classifier, chosen.crop_px]
    if any(given) != all(given):
        parser.error("expected all of --teacher, --train, --test, --classifier and --crop-px, or none of them")
    torch.set_num_threads(1)
    print("| " + " | ".join(HEADINGS) + " |\n| --- | --- |" + " ---: |" * (len(HEADINGS) - 2), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for case in [given_case(*given)] if all(given) else simulated_cases(Path(folder)):
            print_case(case, Path(folder) / case.name)


def print_case(case: Case, folder: Path) -> None:
    """Print a row of the teacher, and one of each student."""
    restained, teacher_rate = timed(case.teacher, case.test.images)
    before = accuracy(case, case.test.images)
    print(f"| {case.name} | (originals) | {difference(case.test.images, restained)} | | | {before:.3f} | |")
    kept = accuracy(case, restained)
    print(f"| {case.name} | (teacher) | 0 | {teacher_rate:.0f} | 1 | {kept:.3f} | 0 |", flush=True)
    for name, generator in STUDENTS.items():
        config = PRESETS["distillation"].config.model_dump(mode="json")
        config["model"]["generator"] = generator
        config["load_px"] = case.train.images.shape[1]
        wanted = type(PRESETS["distillation"].config).model_validate(config)
        fabric = Fabric(accelerator="cpu", devices=1)
        last = distill(wanted, case.teacher, case.digest, case.train, folder / name, fabric, seed=0)[-1]
        copied, rate = timed(open_model(last.path).cell_standardizer(), case.test.images)
        found = accuracy(case, copied)
        print(
            f"| {case.name} | {name} | {difference(copied, restained)} | {rate:.0f} | {rate / teacher_rate:.1f} "
            f"| {found:.3f} | {kept - found:+.3f} |",
            flush=True,
        )


def timed(standardizer: Standardizer, images: UInt8Images) -> tuple[UInt8Images, float]:
    """Return re-stained images, and how many a second of this thread's own time gives."""
    standardizer.standardize(images[:2])
    started = time.process_time()
    restained = standardizer.standardize(images)
    return restained, len(images) / (time.process_time() - started)


def difference(images: UInt8Images, reference: UInt8Images) -> str:
    """Return the mean CIEDE2000 as text."""
    return f"{mean_delta_e_2000(images, reference).mean():.2f}"


def accuracy(case: Case, images: UInt8Images) -> float:
    """Return the balanced accuracy of the classifier on test images as some model shows them."""
    found = align_classes(case.classifier, case.test.classes).probabilities(images).argmax(axis=1)
    return balanced_accuracy(case.test.labels, found, len(case.test.classes))


def given_case(teacher: Path, train: Path, test: Path, classifier: Path, crop_px: int) -> Case:
    """Read the files of the command line."""
    scorer = open_model(classifier).classifier
    sets = []
    for folder in (train, test):
        manifest = index_folder(folder, "source").manifest
        classes = sorted(set(manifest.column("class")) - {""})
        sets.append(load_cells(manifest, classes=classes, size_px=SIZE_PX, crop_px=crop_px))
    opened = open_teacher(teacher)
    return Case(teacher.stem, opened.cell_standardizer(), opened.sha256, *sets, scorer)


def simulated_cases(folder: Path) -> Iterator[Case]:
    """Simulate two hospitals, train a classifier on the target, and yield each closed-form teacher."""
    target, train, test = (
        cells(name, n, seed) for name, n, seed in ((TARGET, 60, 1), (SOURCE, 40, 2), (SOURCE, 40, 3))
    )
    config = ClassifierConfig(architecture="resnet18", size_px=64, epochs=6, learning_rate=2e-3)
    snapshot = fine_tune(config, target, folder / "classifier", Fabric(accelerator="cpu", devices=1), seed=0)
    classifier = open_model(snapshot).classifier
    for name in TEACHERS:
        yield Case(name, fit_on_cells(name, train.images, target.images), name, train, test, classifier)


def cells(hospital: str, n_per_class: int, seed: int) -> CellSet:
    """Return cells of a simulated hospital."""
    images, labels = simulate_cells(CLASSES, n_per_class, HOSPITALS[hospital], seed, SIMULATED_PX)
    names = tuple(f"{seed}-{number}" for number in range(len(images)))
    return CellSet(images, labels, CLASSES, names, names, SIMULATED_PX)


if __name__ == "__main__":
    main()
