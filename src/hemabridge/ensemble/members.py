"""Classifiers that agree, and what they need to go on learning: in the source's looks, from each other, from labels."""

from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from hemabridge.classifiers.classifier import NetworkClassifier, SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.protocol import Classifier
from hemabridge.classifiers.semi_supervised import PseudoLabeledCells, fine_tune_semi_supervised
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.fit import FittedEnsemble
from hemabridge.ensemble.pseudo_labels import PseudoLabels
from hemabridge.progress import Progress, prefixed, silent
from hemabridge.training.snapshots import read_snapshot
from hemabridge.training.tensorfile import write_tensors


@dataclass(frozen=True, eq=False)
class Learner:
    """A classifier that can go on learning.

    Attributes:
        snapshot: of `fine_tune` or `fine_tune_semi_supervised`.
        direct: whether it is asked about the source's images as they are; otherwise about their re-stainings.
        target: labeled cells that it learns beside the source's.
    """

    snapshot: Path
    direct: bool
    target: CellSet


@dataclass(frozen=True, eq=False)
class Members:
    """All classifiers that agree.

    Attributes:
        learners: those that can go on learning.
        others: those that came as a file; they are asked about re-stainings.
    """

    learners: tuple[Learner, ...]
    others: tuple[Classifier, ...] = ()

    def asked_about_restainings(self) -> tuple[Classifier, ...]:
        """Return the classifiers that are asked about re-stained images."""
        return (*self.others, *(_read(learner) for learner in self.learners if not learner.direct))

    def direct(self) -> tuple[Classifier, ...]:
        """Return the classifiers that are asked about the images as they are."""
        return tuple(_read(learner) for learner in self.learners if learner.direct)

    def heard(self, fitted: FittedEnsemble) -> "Members":
        """Return the members without its direct classifiers if the ensemble left them out."""
        return self if fitted.direct else Members(tuple(one for one in self.learners if not one.direct), self.others)

    def kept(self, fitted: FittedEnsemble, folder: Path) -> "Members":
        """Return the members that fitted; those whose batch norm was measured again are written to `folder`.

        Raises:
            ModelError: a snapshot is damaged.
        """
        if not fitted.adabn:
            return self
        new = iter(fitted.direct)
        return replace(
            self,
            learners=tuple(
                replace(one, snapshot=_with_weights_of(next(new), one.snapshot, folder / f"{place}.safetensors"))
                if one.direct
                else one
                for place, one in enumerate(self.learners)
            ),
        )

    def answering(self, fitted: FittedEnsemble) -> FittedEnsemble:
        """Return the ensemble of these classifiers over the same re-stainings."""
        return replace(fitted, classifiers=self.asked_about_restainings(), direct=self.direct())


def new_learners(
    config: ClassifierConfig,
    cells: CellSet,
    folder: Path,
    fabric: Fabric,
    *,
    direct: bool,
    count: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[Learner, ...]:
    """Train `count` classifiers of one kind; resumes what was begun in `folder`.

    They differ in their random start and in what they are shown when. Their mean errs less than each of them, the more
    so the further the source is from what they learned (deep ensembles, Lakshminarayanan, Pritzel & Blundell 2017,
    arXiv:1612.01474).

    Args:
        config: of each.
        cells: labeled cells of the target.
        folder: gets a run folder each.
        fabric: device, precision and processes.
        direct: see `Learner`.
        count: how many.
        seed: of the first; the others' follow.
        progress: called after each step.

    Raises:
        See `hemabridge.classifiers.fine_tune.fine_tune`.
    """
    found = []
    for place in range(count):
        own, told = folder / str(place), prefixed(progress, f"{place + 1} of {count}")
        end = fine_tune(config, cells, own, fabric, seed=seed + place, progress=told)
        found.append(Learner(end, direct, cells))
    return tuple(found)


def go_on(
    members: Members,
    fitted: FittedEnsemble,
    cells: CellSet,
    pseudo_labels: PseudoLabels,
    config: SemiSupervisedConfig,
    folder: Path,
    fabric: Fabric,
    *,
    seed: int,
    progress: Progress = silent,
) -> Members:
    """Let every learner go on with the target's cells and the source's; resumes what was begun in `folder`.

    Args:
        members: which starts from its snapshots.
        fitted: whose re-stainings the source's cells are shown in.
        cells: the source's; their labels are not read.
        pseudo_labels: of each of `cells`.
        config: how long and how fast.
        folder: gets a run folder for each learner.
        fabric: device, precision and processes.
        seed: of draws and looks.
        progress: called after each step.

    Raises:
        See `hemabridge.classifiers.semi_supervised.fine_tune_semi_supervised`.
    """
    restained = PseudoLabeledCells(fitted.views(cells.images), *pseudo_labels, cells.hashes)
    as_they_are = PseudoLabeledCells(cells.images[None], *pseudo_labels, cells.hashes)
    taught = []
    for place, learner in enumerate(members.learners):
        own = folder / str(place)
        end = fine_tune_semi_supervised(
            config,
            learner.snapshot,
            learner.target,
            as_they_are if learner.direct else restained,
            own,
            fabric,
            seed=seed,
            progress=prefixed(progress, f"going on, {place + 1} of {len(members.learners)}"),
        )
        taught.append(replace(learner, snapshot=end))
    return replace(members, learners=tuple(taught))


def _with_weights_of(classifier: Classifier, snapshot: Path, path: Path) -> Path:
    """Write a snapshot again with another's weights; return its path."""
    assert isinstance(classifier, NetworkClassifier)  # each learner is one
    weights, header = read_snapshot(snapshot)
    state = classifier.network.state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {f"raw/{key}": state[key.replace("/", ".", 1)] for key in weights}, header)
    return path


def _read(learner: Learner) -> Classifier:
    return SnapshotClassifier.from_snapshot(learner.snapshot)
