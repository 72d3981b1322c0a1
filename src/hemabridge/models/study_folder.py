"""The layout of a study's folder: the names of all its folders and files are defined here only.

The folder of a stage has a name relative to the study, such as `restained/epoch-0015`. `Stages.run` and `Stages.key`
take that name; the functions `..._stage` and the constants give it. `StudyFolder` gives the paths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from hemabridge.storage.files import folder_name
from hemabridge.storage.run_folder import RECIPE
from hemabridge.storage.stages import DONE

TRANSLATOR_STAGE: Final = "translator"
"""The stage of the study's own translator."""
ENSEMBLE_STAGE: Final = "ensemble"
AUDIT_STAGE: Final = "audit"

RESULTS: Final = "results.json"
"""The file of `evaluation.results.StudyResults`."""
PREDICTIONS: Final = "predictions.csv"
"""Predictions, in the study's folder and in the folder of each stage that predicts."""
REPORT: Final = "report.html"
MANIFEST: Final = "manifest.csv"
"""A site's cells with their parts and their scale, in the folder of `split_stage`."""
NORMALIZER: Final = "normalizer.json"
"""A fitted normalizer, in the folder of `restained_stage`."""
GUARD: Final = "guard.json"
VERDICTS: Final = "verdicts.json"
"""The guard's limits and its verdicts, in the folder of `guard_stage`."""
AUDIT: Final = "audit.json"
"""The audit, in the folder of `AUDIT_STAGE`."""
LIMITS: Final = "limits.json"
"""The guard's limits of a snapshot, in the folder of `limits_stage`."""

Direction: TypeAlias = Literal["to_target", "to_source"]


def split_stage(site: str) -> str:
    """Return the stage that determines the parts and the scale of a site's cells."""
    return f"split/{folder_name(site)}"


def classifier_stage(name: str) -> str:
    """Return the stage that fine-tunes a classifier on the target; its folder is a run folder."""
    return f"classifiers/{folder_name(name)}"


def compared_stage(preset: str) -> str:
    """Return the stage that trains a translator for comparison; its folder is a run folder."""
    return f"translators/{preset}"


def restained_stage(name: str, size_px: int | None = None) -> str:
    """Return the stage that re-stains the source's cells by a normalizer, a preset or a snapshot.

    Args:
        name: name of the normalizer, the preset or the snapshot.
        size_px: side of the cells in pixels; None: the size of the model.
    """
    return f"restained/{name}" if size_px is None else f"restained-{size_px}px/{name}"


def guard_stage(name: str) -> str:
    """Return the stage that checks the morphology after a normalizer, a preset or a snapshot."""
    return f"guard/{name}"


def stage_of_seed(seed: int, stage: str) -> str:
    """Return the name of a stage that a study does again with another seed."""
    return f"seeds/{seed}/{stage}"


def source_fine_tuning_stage(classifier: str, shown: str, labels: int | None = None) -> str:
    """Return the stage that fine-tunes a classifier again, on the source.

    Args:
        classifier: name of the classifier.
        shown: `original`, or the name of the re-staining of the cells.
        labels: number of labels; None for all.
    """
    few = "" if labels is None else f"{labels_folder(labels)}/"
    return f"source-fine-tuning/{folder_name(classifier)}/{few}{shown}"


def selection_stage(snapshot: str) -> str:
    """Return the stage in which `hemabridge select` re-stains cells by a snapshot."""
    return f"selection/{snapshot}"


def limits_stage(snapshot: str) -> str:
    """Return the stage in which `hemabridge select` learns the guard's limits of a snapshot."""
    return f"{selection_stage(snapshot)}/limits"


def labels_folder(labels: int) -> str:
    """Return the name of the folder of fine-tuning on this number of labels of the source."""
    return f"labels-{labels}"


def cells_file(part: str) -> str:
    """Return the file name of the re-stained cells of a part, in the folder of `restained_stage`."""
    return f"{part}.npy"


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study, finished or not.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe of the study."""
        return self.path / RECIPE

    @property
    def results(self) -> Path:
        """All numbers; the file that is written last, so that a study with it is finished."""
        return self.path / RESULTS

    @property
    def predictions(self) -> Path:
        """The predictions of each classifier for each cell."""
        return self.path / PREDICTIONS

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.path / REPORT

    @property
    def tables(self) -> Path:
        """Folder of the leaderboard."""
        return self.path / "tables"

    @property
    def figure_4(self) -> Path:
        """The picture of the same cells at each tested epoch."""
        return self.path / "figure-4.png"

    @property
    def translator(self) -> Path:
        """Run folder of the study's own translator."""
        return self.path / TRANSLATOR_STAGE

    @property
    def translator_events(self) -> Path:
        """The log of the training of the study's own translator."""
        return self.translator / "events.jsonl"

    def compared(self, preset: str) -> Path:
        """Return the run folder of a translator that was trained for comparison."""
        return self.path / compared_stage(preset)

    def classifier(self, name: str) -> Path:
        """Return the run folder of a classifier that was fine-tuned on the target."""
        return self.path / classifier_stage(name)

    def ensemble(self, labels: int = 0) -> Path:
        """Return the folder of the ensemble, or of the one fine-tuned on this number of labels of the source."""
        return self.path / ENSEMBLE_STAGE / labels_folder(labels) if labels else self.path / ENSEMBLE_STAGE

    def manifest(self, site: str) -> Path:
        """Return the manifest of a site's cells in the study."""
        return self.path / split_stage(site) / MANIFEST

    def normalizer(self, name: str) -> Path:
        """Return the file of a fitted normalizer."""
        return self.path / restained_stage(name) / NORMALIZER

    @property
    def restainings(self) -> Mapping[str, Path]:
        """Folders of all finished re-stainings, by the name of the normalizer, the preset or the snapshot."""
        return {done.parent.name: done.parent for done in self.path.glob(f"{restained_stage('*')}/{DONE}")}

    def pictures(self, name: str, direction: Direction = "to_target") -> Path:
        """Return the folder of the pictures of the test cells as a normalizer, a preset or a snapshot re-stains them.

        Args:
            name: of the normalizer, the preset or the snapshot.
            direction: `to_target` for the source's cells, `to_source` for the target's.
        """
        return self.path / restained_stage(name) / direction

    def of_seed(self, seed: int) -> "StudyFolder":
        """Return the folder of the same study with another seed."""
        return StudyFolder(self.path / "seeds" / str(seed))
