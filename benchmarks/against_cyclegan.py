"""Accuracy for CPU time: what needs no CycleGAN against the CycleGAN of a finished study, with the same classifiers.

    hemabridge study recipes/clinic-from-tecom.toml        # once; about an hour
    python benchmarks/against_cyclegan.py --study runs/clinic-from-tecom

The study's own record says how many CPU seconds its translator took; all its snapshots are scored. The best one stands
for CycleGAN, though it is picked with the labels: in its favor. The others are fitted or trained here, on the cells
that the translator saw, and scored on the same test part with the same classifiers. Last, ensembles with members as in
`recipes/recommended.toml`, trained here on the target alone, and the color table learned for one of the study's
classifiers.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import read_manifest
from hemabridge.ensemble.config import EnsembleConfig, LearnedLutConfig
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_learning import learn_lut
from hemabridge.ensemble.members import Member, Members, train_members
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.metrics.closeness import gradient_correlation
from hemabridge.models import open_model
from hemabridge.models.study_folder import StudyFolder
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.normalizers.table_normalizer import LearnedLut
from hemabridge.recipes.recipe import SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site
from hemabridge.storage.stages import DONE
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.train import train_translator

T = TypeVar("T")
ROW = "{:34s} {:>8s} {:>9s} {:>9s} {:>9s} {:>10s} {:>9s}"


def main() -> None:
    """Measure all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("runs/clinic-from-tecom"))
    parser.add_argument("--translators", default="pixel,film,lut,bilateral", help="presets to train, for seed 0")
    parser.add_argument("--ensembles", default="1,2,all", help="ensembles of so many classifiers of each kind")
    parser.add_argument("--recommended", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--plain", default="mobilenetv2", help="part of the name of the classifier that stays as it is")
    spec = parser.parse_args()
    recipe = expect_kind(read_recipe(spec.study / "recipe.toml"), StudyRecipe)
    classes, size_px = recipe.classes, recipe.size_px
    source, target = (_site(spec.study, site) for site in (recipe.source, recipe.target))
    seen, test = (source.cells((part,), classes, size_px, lambda *_: None) for part in ("train", "test"))
    known = target.cells(("train",), classes, size_px, lambda *_: None)
    names = plain_names(recipe)
    classifiers = [open_model(StudyFolder(spec.study).classifier(name)).classifier for name in names]

    def scored(standardizer: Standardizer) -> tuple[list[float], float]:
        images = standardizer.standardize(test.images)
        kept = float(np.median(gradient_correlation(images, test.images)))
        return [_balanced(test, one.probabilities(images)) for one in classifiers], kept

    seconds, values, kept = _cyclegan(spec.study, scored)
    print(f"n = {len(test)}, {len(classifiers)} classifiers trained without labels of {source.name}; balanced accuracy")
    print(ROW.format("", "CPU s", "share", "mean", "lowest", "highest", "gradients"))
    _print("CycleGAN, best of all snapshots", seconds, seconds, values, kept)
    for name in ("macenko", "vahadane", "linear-ot", "sliced-ot"):
        spent, normalizer = _timed(lambda name=name: fit_on_cells(name, seen.images, known.images))
        _print(name, spent, seconds, *scored(normalizer))
    fitting, fitted = _timed(lambda: _fitted(classifiers, seen, known))
    _print("ensemble of all classifiers", fitting, seconds, [_balanced(test, fitted.predict(test.images))], None)
    spent, tables = _timed(lambda: [_table(one, fitted, seen, known) for one in classifiers])
    restained = [table.standardize(test.images) for table in tables]
    values = [_balanced(test, one.probabilities(images)) for one, images in zip(classifiers, restained, strict=True)]
    kept = min(float(np.median(gradient_correlation(images, test.images))) for images in restained)
    _print("a learned color LUT for each classifier", fitting + spent, seconds, values, kept)
    for preset in filter(None, spec.translators.split(",")):
        spent, translator = _timed(lambda preset=preset: _trained(preset, source, target, recipe))
        _print(f"translator {preset}", spent, seconds, *scored(translator))
    name, plain = next((name, one) for name, one in zip(names, classifiers, strict=True) if spec.plain in name)
    classifiers[:] = [plain]
    print(f"\nof {name} alone; CPU seconds of ensembles include the training of their classifiers")
    _print("CycleGAN, best of all snapshots", seconds, seconds, *_cyclegan(spec.study, scored)[1:])
    for most in spec.ensembles.split(","):
        _with_members(spec.recommended, None if most == "all" else int(most), plain, (seen, test, known), seconds)


def _with_members(
    path: Path, most: int | None, plain: SnapshotClassifier, cells: tuple[CellSet, CellSet, CellSet], cyclegan: float
) -> None:
    """Print what an ensemble, and the color table that is learned from it for one more classifier, reach and cost."""
    seen, test, known = cells
    spec = expect_kind(read_recipe(path), StudyRecipe).ensemble
    assert spec is not None
    config, lut = spec, spec.learned_lut
    assert lut is not None
    kinds = [one.model_copy(update={"count": min(one.count, most or one.count)}) for one in spec.members]
    with TemporaryDirectory() as place:
        context = RunContext(Path(place), start_fabric("cpu"), seed=0)
        training, members = _timed(lambda: train_members(Members(()), kinds, known, context.within("members")))
        fitting, fitted = _timed(lambda: fit_ensemble(members, seen, known, config, context))
        learning, table = _timed(lambda: learn_lut(lut, plain, fitted, seen, known.images, context.within("table")))
        prediction = fitted.predict(test.images)
    restained = table.standardize(test.images)
    kept = float(np.median(gradient_correlation(restained, test.images)))
    name = f"{len(fitted.color_members) + len(fitted.shape_members)} classifiers"
    _print(f"ensemble of {name}", training + fitting, cyclegan, [_balanced(test, prediction)], None)
    values = [_balanced(test, plain.probabilities(restained))]
    _print(f"learned color LUT, {name}", training + fitting + learning, cyclegan, values, kept)
    _print("  of which for each further site", fitting + learning, cyclegan, values, kept)


def plain_names(recipe: StudyRecipe) -> list[str]:
    """Return the classifiers that were trained without stain augmentation and use batch norm."""
    trained = [(each.name, each.train) for each in recipe.classifiers if each.train is not None]
    return [name for name, train in trained if train.stain_augmentation is None and train.norm == "batch"]


def _site(study: Path, spec: SiteRecipe) -> Site:
    assert spec.folder is not None
    manifest = read_manifest(StudyFolder(study).manifest(spec.site), spec.folder)
    return Site(spec.site, manifest, manifest.column("crop_px")[0])


def _cyclegan(
    study: Path, scored: Callable[[Standardizer], tuple[list[float], float]]
) -> tuple[float, list[float], float]:
    """Return CPU seconds until the best of all snapshots, its accuracies, and its gradient correlation."""
    snapshots = list_snapshots(StudyFolder(study).translator)
    total = json.loads((StudyFolder(study).translator / DONE).read_text(encoding="utf-8"))["cpu_seconds"]
    tested = [(s, *scored(open_model(s.path).cell_standardizer())) for s in snapshots]
    best, values, kept = max(tested, key=lambda found: float(np.mean(found[1])))
    return total * best.images / snapshots[-1].images, values, kept


def _trained(preset: str, source: Site, target: Site, recipe: StudyRecipe) -> NeuralStandardizer:
    config = PRESETS[preset].config
    cells = [site.cells(("train",), recipe.classes, config.load_px, lambda *_: None) for site in (source, target)]
    with TemporaryDirectory() as folder:
        snapshots = train_translator(config, *cells, Path(folder), start_fabric("cpu"), seed=0)
        return open_model(snapshots[-1].path).cell_standardizer()


def _fitted(classifiers: list[SnapshotClassifier], seen: CellSet, known: CellSet) -> FittedEnsemble:
    with TemporaryDirectory() as folder:
        context = RunContext(Path(folder), start_fabric("cpu"), seed=0)
        return fit_ensemble(Members(tuple(map(Member, classifiers))), seen, known, EnsembleConfig(), context)


def _table(classifier: SnapshotClassifier, fitted: FittedEnsemble, seen: CellSet, known: CellSet) -> LearnedLut:
    with TemporaryDirectory() as folder:
        context = RunContext(Path(folder), start_fabric("cpu"), seed=0)
        return learn_lut(LearnedLutConfig(), classifier, fitted, seen, known.images, context)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


def _balanced(cells: CellSet, answer: np.ndarray) -> float:
    return balanced_accuracy(cells.labels, answer.argmax(axis=1), len(cells.classes))


def _print(name: str, spent: float, cyclegan: float, values: list[float], kept: float | None) -> None:
    figures = (f"{np.mean(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}")
    gradients = "" if kept is None else f"{kept:.3f}"
    print(ROW.format(name, f"{spent:.1f}", f"1/{cyclegan / spent:.0f}", *figures, gradients), flush=True)


if __name__ == "__main__":
    main()
