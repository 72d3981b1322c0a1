"""The members of an ensemble, with the color view or the shape view, and the training of further ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet, joined
from hemabridge.ensemble.config import MembersConfig
from hemabridge.ensemble.saved import SavedMembers
from hemabridge.errors import InputError
from hemabridge.models import open_model
from hemabridge.models.model import Model
from hemabridge.storage.files import atomic_write
from hemabridge.training.run_context import RunContext

MEMBERS_FILE: Final = "members.json"
"""The file of all members before the fit, from which an ensemble for another hospital can be fitted."""


@dataclass(frozen=True, eq=False)
class Member:
    """One classifier of an ensemble.

    Attributes:
        classifier: the classifier.
        snapshot: its file, with which training can continue; None for a classifier that was not trained here.
        cells: the labeled cells on which it was trained, for fine-tuning; None if they are not given.
        external: the recipe's name of a classifier that was not trained here; None for others.
    """

    classifier: Classifier
    snapshot: Path | None = None
    cells: CellSet | None = None
    external: str | None = None

    @classmethod
    def of_snapshot(
        cls, snapshot: Path, cells: CellSet | None = None, opened: Callable[[Path], Model] = open_model
    ) -> "Member":
        """Open a member that was trained here.

        Raises:
            ModelError: the file is not the snapshot of a classifier.
        """
        return cls(opened(snapshot).classifier, snapshot, cells)


@dataclass(frozen=True, eq=False)
class Members:
    """Classifiers of the target from which an ensemble is fitted.

    Attributes:
        color: members with the color view, which predict from re-stained images.
        shape: members with the shape view (`view = "shape"`), which predict from the original images.
    """

    color: tuple[Member, ...]
    shape: tuple[Member, ...] = ()

    def save(self, folder: Path, root: Path) -> None:
        """Write `members.json`; paths of snapshots are relative to `root`, the folder of the study.

        Raises:
            InputError: a snapshot is not below `root`.
        """
        saved = SavedMembers(
            color_members=snapshot_names(self.color, root),
            shape_members=snapshot_names(self.shape, root),
            external_members=external_names(self.color),
        )
        with atomic_write(folder / MEMBERS_FILE) as temporary:
            temporary.write_text(saved.to_json(), encoding="utf-8")

    @classmethod
    def load(
        cls,
        folder: Path,
        root: Path,
        external: Mapping[str, Classifier],
        cells: CellSet | None = None,
        opened: Callable[[Path], Model] = open_model,
    ) -> "Members":
        """Read what `save` wrote.

        Args:
            folder: the folder of `members.json`.
            root: the folder of the study.
            external: classifiers of the recipe that were not trained here, by name; it may contain others.
            cells: the cells on which the members were trained, to train them further.
            opened: opens the snapshots; see `hemabridge.models.open.OpenModels`.

        Raises:
            InputError: a file is missing or outside of `root`, or a classifier is not in the recipe.
            ModelError: a snapshot is damaged.
        """
        saved = SavedMembers.read(folder / MEMBERS_FILE)
        color, shape = (
            open_members(files, cells, opened) for files in (saved.color_files(root), saved.shape_files(root))
        )
        return cls((*find_external(saved.external_members, external), *color), shape)


def train_members(
    members: Members,
    specs: Sequence[MembersConfig],
    target: CellSet,
    context: RunContext,
    further: Sequence[CellSet] = (),
    begin: Callable[[str], None] = lambda _: None,
    opened: Callable[[Path], Model] = open_model,
) -> Members:
    """Return the members, followed by those that are trained for the ensemble alone; the same call resumes.

    Those of one kind differ in their initial weights and in the order of the cells. Their mean prediction is more
    accurate than that of one of them, above all under a large domain shift (deep ensembles, Lakshminarayanan, Pritzel &
    Blundell 2017, arXiv:1612.01474).

    Args:
        members: existing members, trained with `context.seed`; new ones are trained with the following seeds.
        specs: the kinds to train, and the number of each.
        target: labeled cells.
        context: the folder gets a folder for each kind, and that one a run folder for each classifier.
        further: labeled cells of other hospitals, from which they learn too.
        begin: called with the name of each classifier (`member_names`) before it is trained.
        opened: opens the snapshots; see `hemabridge.models.open.OpenModels`.

    Raises:
        See `hemabridge.classifiers.fine_tune.fine_tune`.
    """
    color, shape = members.color, members.shape
    known, names = joined(target, further), iter(member_names(specs))
    for number, spec in enumerate(specs):
        for place in range(spec.count):
            name = next(names)
            begin(name)
            own = context.within(f"{number}/{place}", name).with_seed(context.seed + 1 + place)
            end = fine_tune(
                spec.train, target, own.folder, own.fabric, seed=own.seed, further=further, progress=own.progress
            )
            trained = Member.of_snapshot(end, known, opened)
            if spec.train.view == "shape":
                shape += (trained,)
            else:
                color += (trained,)
    return Members(color, shape)


def member_names(specs: Sequence[MembersConfig]) -> tuple[str, ...]:
    """Return what a user reads of each classifier that is trained, in the order of the trainings."""
    views = [spec.train.view for spec in specs for _ in range(spec.count)]
    return tuple(f"classifier {number} of {len(views)} ({view})" for number, view in enumerate(views, start=1))


def classifiers_of(members: Sequence[Member]) -> tuple[Classifier, ...]:
    """Return the members' classifiers."""
    return tuple(member.classifier for member in members)


def open_members(
    snapshots: Sequence[Path], cells: CellSet | None, opened: Callable[[Path], Model]
) -> tuple[Member, ...]:
    """Open members by their snapshots."""
    return tuple(Member.of_snapshot(path, cells, opened) for path in snapshots)


def snapshot_names(members: Sequence[Member], root: Path) -> tuple[str, ...]:
    """Return the paths of the members' snapshots relative to `root`, without members that have none.

    Raises:
        InputError: a snapshot is not below `root`.
    """
    return tuple(name_below(root, member.snapshot) for member in members if member.snapshot is not None)


def name_below(root: Path, path: Path) -> str:
    """Return the path of a file relative to a folder above it, with `/`.

    Raises:
        InputError: the file is not below the folder.
    """
    if not path.is_relative_to(root):
        raise InputError(f"expected a file below {root}, so that the folder can be moved as a whole, got {path}")
    return path.relative_to(root).as_posix()


def external_names(members: Sequence[Member]) -> tuple[str, ...]:
    """Return the recipe's names of the members that were not trained here."""
    return tuple(member.external for member in members if member.external is not None)


def find_external(names: Sequence[str], known: Mapping[str, Classifier]) -> tuple[Member, ...]:
    """Return the members that were not trained here, by the recipe's names.

    Raises:
        InputError: a name is not in the recipe.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"expected classifiers of the recipe, {', '.join(known) or 'which has none'}, got {', '.join(unknown)} "
            "in the file of its ensemble; run the study again"
        )
    return tuple(Member(known[name], external=name) for name in names)
