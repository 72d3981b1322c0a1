"""`hemabridge evaluate`: new cells named as a study names its own, and scored if somebody knows what they are."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.protocol import Classifier, Probabilities, align_classes
from hemabridge.data.cells import UNKNOWN
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import NewCells, crop_px_of, list_new_cells, read_new_cells
from hemabridge.ensemble.fit import FittedEnsemble, agree, mean_answer
from hemabridge.ensemble.lut_learning import NAME as LEARNED_LUT
from hemabridge.ensemble.saved import FILE, MEMBERS, SavedEnsemble, write_normalizers
from hemabridge.errors import InputError
from hemabridge.evaluation.predictions import Predictions, write_predictions
from hemabridge.evaluation.results import Mode, PairedTest, Row, StudyResults
from hemabridge.evaluation.rows import ORIGINAL, make_row, paired_tests, work_out_mode
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.models.open import read_selection
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, write_answer
from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import ClassifierRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site, read_settled
from hemabridge.storage.files import atomic_write
from hemabridge.storage.names import folder_name
from hemabridge.storage.run_folder import RECIPE, check_apart
from hemabridge.storage.spreadsheets import as_cells
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.study.ensemble_stage import NAME as ENSEMBLE
from hemabridge.workflows.study.ensemble_stage import STAGE
from hemabridge.workflows.study.translation import fitted_restainings

NAMED: Final = "named.csv"
PREDICTIONS: Final = "predictions.csv"
COLUMNS: Final = ("path", "class", "answer", "probability", "by", "reason")


@dataclass(frozen=True, eq=False)
class Answers:
    """What one classifier says of all cells.

    Attributes:
        classifier: its name, or `ensemble`.
        images: `original`, or what re-stained them.
        snapshot: of the study's own translator; None for all others.
        labels_used: how many of the source's labels it learned from.
        probabilities: float32[N, C].
    """

    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    probabilities: Probabilities

    @property
    def name(self) -> str:
        """What `--by` calls it."""
        return _name(self.classifier, self.snapshot or self.images, self.labels_used)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What became of all files.

    Attributes:
        by: the name of the answers in `named.csv`.
        named: files that got an answer.
        failed: files that did not, with the reason.
        rows: of every classifier on every re-staining, if at least one cell's class is known; as in a study.
        tests: each row on re-stained cells against the same classifier on the originals.
        mode: `strict` if the study was fitted on none of the scored files, `transductive` if on some.
        unscored: cells with a class that the study does not tell apart, or with none.
        site: whether the translator knows the site; None if its file cannot say.
    """

    by: str
    named: int
    failed: dict[str, str]
    rows: tuple[Row, ...]
    tests: tuple[PairedTest, ...]
    mode: Mode
    unscored: int
    site: SiteAnswer | None


def evaluate(
    study: Path,
    source: Path,
    out: Path,
    *,
    root: Path | None = None,
    crop_px: int | None = None,
    by: str | None = None,
    fit: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Name the cells of images that need not have been part of a study, by all that the study made.

    Each of its classifiers is asked about the cells as they came and as each of the study's re-stainings shows them;
    where classifiers fitted, so do they here. Nothing is fitted or trained, unless the images are of another hospital
    and `fit` is asked for. Writes `named.csv`, one row per file, and `predictions.csv`, from which every number can be
    counted again: cells of a known class alone.

    Args:
        study: the folder of a finished study.
        source: a folder of images, or a manifest, whose column `class` is used where it is filled.
        out: folder for the two files: new, empty or that of an earlier call; apart from the study and the images.
        root: what the manifest's paths are relative to; its folder if not given.
        crop_px: the square, in pixels of these images, that shows a cell as large as the study saw the source's; if not
            given, as in the study, and with `fit` estimated.
        by: whose answers `named.csv` holds; the ensemble that learned from most labels, and without one the first
            classifier on the snapshot that `hemabridge select` chose if it was tested, else on the last tested one.
        fit: let the study's classifiers be fitted to these images, as in a study of this hospital,
            without a label. The normalizers that suit it are written to `out` as JSON.
        progress: told of each step.

    Raises:
        InputError: the study is not finished, no image can be read, `by` is none of the answers, nobody can agree, or
            `out` is not apart from the study and the images or holds other files.
        SplitError: a synthetic cell has a class, which would be scored.
        HemabridgeError: a file of the study is damaged.
    """
    recipe = expect_kind(read_recipe(_finished(study) / RECIPE), StudyRecipe)
    classes = StudyResults.read(study / "results.json").classes
    if by is not None and not (fit and recipe.ensemble is None):  # which is told below
        _expect_one_of(_names(study, recipe, fit=fit), by)
    own = read_settled(recipe.source, study)
    listed = list_new_cells(source, root, own.name)
    manifest = listed.manifest
    check_apart(out, study, *([source] if source.is_dir() else []))  # images of a manifest may lie all around
    _check_own(out)
    scale = crop_px or (crop_px_of(manifest) if fit and own.crop_px != "whole" else own.crop_px)
    read = cache(lambda px: read_new_cells(listed, classes, CropSpec(scale, px), progress))
    cells = read(recipe.ensemble_px if fit else recipe.size_px)
    if fit:
        fitted, answers = _fitted_answers(study, recipe, classes, cells.images, progress)
        done = _written(answers, by, manifest, cells, classes, set(cells.hashes), recipe.seed, out)
        write_normalizers(fitted, out)
        return done
    answers = list(_answers(study, recipe, classes, lambda px: read(px).images, progress))
    by = by or _on_the_selected(study, recipe)
    done = _written(answers, by, manifest, cells, classes, _fitted_on(recipe, study, own), recipe.seed, out)
    last = fitted_restainings(recipe, study)[-1].path
    return replace(done, site=write_answer(open_model(last, crop_px=crop_px), manifest.paths(), out, progress))


def _written(
    answers: Sequence[Answers],
    by: str | None,
    manifest: Manifest,
    cells: NewCells,
    classes: tuple[str, ...],
    fitted_on: set[str],
    seed: int,
    out: Path,
) -> Evaluation:
    chosen = _chosen(answers, by)
    given = dict(zip(manifest.column("path"), manifest.column("class"), strict=True))
    given |= {name: given.get(name, "") for name in cells.failed}
    known = np.flatnonzero(cells.labels != UNKNOWN)
    scored = [_predictions(each, cells, known, manifest.column("site")[0]) for each in answers] if len(known) else []
    mode = work_out_mode([cells.hashes[place] for place in known], fitted_on)
    out.mkdir(parents=True, exist_ok=True)
    _write_named(chosen, cells, classes, given, out / NAMED)
    write_predictions(scored, classes, out / PREDICTIONS)
    return Evaluation(
        by=chosen.name,
        named=len(cells.paths),
        failed=cells.failed,
        rows=tuple(make_row(p, classes, mode="none" if p.images == ORIGINAL else mode, seed=seed) for p in scored),
        tests=paired_tests(scored),
        mode=mode,
        unscored=len(cells.paths) - len(known),
        site=None,
    )


def _finished(study: Path) -> Path:
    if not (study / "results.json").is_file():
        raise InputError(f"expected the folder of a finished study, got {study} without results.json; run the study")
    return study


def _check_own(out: Path) -> None:
    """Make sure that a folder is new or empty, or holds nothing but what an earlier call wrote."""
    names = {path.name for path in out.glob("[!.]*")}
    written = {NAMED, PREDICTIONS, ANSWER_FILE, *(f"{name}.json" for name in NORMALIZERS)}
    others = sorted(names - written)
    if names and not others and not _is_named(out / NAMED):
        others = sorted(names)
    if others:
        raise InputError(
            f"expected a new or empty folder, or one of an earlier call, got {others[0]} in {out}; name another"
        )


def _is_named(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().strip() == ",".join(COLUMNS).encode()


def _answers(
    study: Path,
    recipe: StudyRecipe,
    classes: tuple[str, ...],
    images_at: Callable[[int], UInt8Images],
    progress: Progress,
) -> Iterator[Answers]:
    """Yield all predictions; `images_at` returns the cells, cut from the original images, at a size in pixels."""
    classifiers = {spec.name: _classifier(study, spec, classes) for spec in recipe.classifiers}
    sizes = {spec.name: recipe.cells_px(spec) for spec in recipe.classifiers}
    for name, classifier in classifiers.items():
        yield Answers(name, ORIGINAL, None, 0, classifier.probabilities(images_at(sizes[name])))
    restainings = fitted_restainings(recipe, study)
    for number, fitted in enumerate(restainings, 1):
        restained = {
            px: fitted.standardizer(recipe.size_px, px).standardize(images_at(px)) for px in set(sizes.values())
        }
        for name, classifier in classifiers.items():
            yield Answers(name, fitted.method, fitted.snapshot, 0, classifier.probabilities(restained[sizes[name]]))
        progress("re-staining and asking", number, len(restainings))
    for name, classifier in classifiers.items():
        table = _learned_lut(study, name)
        if table.is_file():
            with_lut = open_model(table).cell_standardizer().standardize(images_at(recipe.ensemble_px))
            yield Answers(name, LEARNED_LUT, None, 0, mean_answer([classifier], with_lut))
    ensembles = _ensembles(study, recipe)
    for number, (labels, kept) in enumerate(ensembles.items(), 1):
        ensemble = kept.ensemble(study, classifiers)
        images = images_at(recipe.ensemble_px)
        yield Answers(ENSEMBLE, ORIGINAL, None, labels, ensemble.at_home(images))
        yield Answers(ENSEMBLE, ENSEMBLE, None, labels, ensemble.probabilities(images))
        progress("asking the ensemble", number, len(ensembles))


def _fitted_answers(
    study: Path, recipe: StudyRecipe, classes: tuple[str, ...], images: UInt8Images, progress: Progress
) -> tuple[FittedEnsemble, list[Answers]]:
    """Let the members agree about other images: re-stainings are fitted and judged on them, no label is looked at."""
    if recipe.ensemble is None:
        raise InputError(f"expected a study whose classifiers agree ([ensemble] in its recipe), to fit: {study}")
    classifiers = {spec.name: _classifier(study, spec, classes) for spec in recipe.classifiers}
    answers = [Answers(name, ORIGINAL, None, 0, one.probabilities(images)) for name, one in classifiers.items()]
    members = SavedEnsemble.read(study / STAGE / MEMBERS).ensemble(study, classifiers)
    target = read_settled(recipe.target, study).cells(("train",), classes, recipe.ensemble_px, progress)
    progress("fitting re-stainings that agree", 0, 1)
    fitted = agree(
        recipe.ensemble, members.classifiers, images, target, direct=members.direct, seed=recipe.seed, name=ENSEMBLE
    )
    answers.append(Answers(ENSEMBLE, ORIGINAL, None, 0, fitted.at_home(images)))
    answers.append(Answers(ENSEMBLE, ENSEMBLE, None, 0, fitted.probabilities(images)))
    progress("fitting re-stainings that agree", 1, 1)
    return fitted, answers


def _ensembles(study: Path, recipe: StudyRecipe) -> dict[int, SavedEnsemble]:
    """Return what fitted in the study, by the number of the source's labels that it learned from."""
    if recipe.ensemble is None:
        return {}
    folders = {0: study / STAGE} | {count: study / STAGE / f"labels-{count}" for count in recipe.ensemble.few_labels}
    return {count: SavedEnsemble.read(folder / FILE) for count, folder in folders.items()}


def _classifier(study: Path, spec: ClassifierRecipe, classes: tuple[str, ...]) -> Classifier:
    if spec.external is not None:
        return align_classes(load_external(spec.external), classes)
    snapshots = list_snapshots(study / "classifiers" / folder_name(spec.name))
    if not snapshots:
        raise InputError(f"expected the classifier {spec.name} in {study}, got none; run the study again")
    return align_classes(SnapshotClassifier.from_snapshot(snapshots[-1].path), classes)


def _chosen(answers: Sequence[Answers], by: str | None) -> Answers:
    if by is None:
        first, last = answers[0].classifier, answers[-1]
        return last if last.classifier == ENSEMBLE else [a for a in answers if a.snapshot and a.classifier == first][-1]
    return next(each for each in answers if each.name == by)


def _names(study: Path, recipe: StudyRecipe, *, fit: bool) -> list[str]:
    """Return the names of all answers that there will be, before any is asked for."""
    classifiers = [spec.name for spec in recipe.classifiers]
    shown = [ORIGINAL] if fit else [ORIGINAL, *(f.snapshot or f.method for f in fitted_restainings(recipe, study))]
    names = [_name(classifier, each, 0) for each in shown for classifier in classifiers]
    if not fit:
        names += [_name(one, LEARNED_LUT, 0) for one in classifiers if _learned_lut(study, one).is_file()]
    labels = () if recipe.ensemble is None else (0,) if fit else (0, *recipe.ensemble.few_labels)
    return names + [_name(ENSEMBLE, each, count) for count in labels for each in (ORIGINAL, ENSEMBLE)]


def _on_the_selected(study: Path, recipe: StudyRecipe) -> str | None:
    """Return the first classifier's answer on the selected snapshot; None with an ensemble, or if untested."""
    selection = None if recipe.ensemble is not None else read_selection(study)
    if selection is None or selection.chosen is None:
        return None
    name = _name(recipe.classifiers[0].name, selection.chosen, 0)
    return name if name in _names(study, recipe, fit=False) else None


def _name(classifier: str, shown: str, labels_used: int) -> str:
    name = classifier if classifier == shown else f"{classifier} on {shown}"
    return f"{name}, {labels_used} labels" if labels_used else name


def _learned_lut(study: Path, classifier: str) -> Path:
    return study / STAGE / f"{LEARNED_LUT}-{folder_name(classifier)}.json"


def _expect_one_of(names: Sequence[str], by: str) -> None:
    if by not in names:
        near = difflib.get_close_matches(by, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"expected one of {', '.join(names)}, got {by!r}{hint}")


def _write_named(
    chosen: Answers, cells: NewCells, classes: tuple[str, ...], given: Mapping[str, str], path: Path
) -> None:
    """Write a row for each file, in the order of the manifest, then those that it may not hold.

    No cell can be taken for a formula.
    """
    places = {name: place for place, name in enumerate(cells.paths)}
    rows = []
    for name, known in given.items():
        place = places.get(name)
        said = None if place is None else chosen.probabilities[place]
        answer = ("", None) if said is None else (classes[int(said.argmax())], float(said.max()))
        rows.append((name, known, *answer, chosen.name, cells.failed.get(name, "")))
    schema = {name: pl.Float64 if name == "probability" else pl.String for name in COLUMNS}
    with atomic_write(path) as temporary:
        as_cells(pl.DataFrame(rows, schema=schema, orient="row")).write_csv(temporary, float_precision=4)


def _predictions(answers: Answers, cells: NewCells, known: NDArray[np.intp], site: str) -> Predictions:
    return Predictions(
        site=site,
        part="new",
        classifier=answers.classifier,
        images=answers.images,
        snapshot=answers.snapshot,
        labels_used=answers.labels_used,
        ids=tuple(cells.paths[place] for place in known),
        truth=cells.labels[known],
        probabilities=answers.probabilities[known],
    )


def _fitted_on(recipe: StudyRecipe, study: Path, source: Site) -> set[str]:
    """Return the hashes of all cells that the study trained or fitted anything on."""
    target = read_settled(recipe.target, study)
    unseen = ["test"] if recipe.mode == "strict" else []
    parts = ((source, unseen), (target, ["validation", "test"]))
    return {h for site, left in parts for h in site.manifest.select(~pl.col("split").is_in(left)).column("sha256")}
