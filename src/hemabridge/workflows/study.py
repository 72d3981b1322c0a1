"""`hemabridge study`: Blocks 1 and 2 of the paper on two sites, as one run that can be killed and resumed."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal

import polars as pl
from lightning_fabric import Fabric

from hemabridge.adaptation.team import Learner
from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.errors import RecipeError
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemabridge.evaluation.results import StudyResults
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.files import atomic_write, write_image
from hemabridge.normalizers.catalog import fit_normalizer
from hemabridge.progress import Progress, prefixed, silent
from hemabridge.report.report import write_study_report
from hemabridge.training.devices import one_process
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.training.stopping import hold_folder
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.train import train_translator
from hemabridge.workflows.agreeing import Agreeing, AgreementStudy
from hemabridge.workflows.recipe import AgreementRecipe, ClassifierRecipe, StudyRecipe
from hemabridge.workflows.restained import Restained, read_restained, restain, restain_back
from hemabridge.workflows.run_folder import describe_run, versions
from hemabridge.workflows.sites import prepare_site, read_site, refuse_shared_files, shared_classes
from hemabridge.workflows.stages import Stages, folder_name
from hemabridge.workflows.study_results import (
    collect,
    draw_figure_4,
    loss_curves,
    structure_facts,
    study_facts,
    study_pictures,
)

Which = Literal["source", "target"]
SOURCE, TARGET = "source", "target"


def study(recipe: StudyRecipe, out: Path, *, fabric: Fabric | None = None, progress: Progress = silent) -> StudyResults:
    """Run, or resume, a study; write `results.json`, `predictions.csv`, `figure-4.png` and `report.html` to `out`.

    Split both sites, fine-tune the classifiers on the target, train the translator, re-stain the source at each tested
    epoch, test on the source's test part, original and re-stained; fine-tune again on the source's training part,
    original and re-stained, and test again. A stage whose inputs are unchanged is not done again.

    Raises:
        Interrupted: a signal stopped it; the same call goes on from there.
        HemabridgeError: something else that the message explains.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    one_process(fabric, "a study")
    with hold_folder(out):
        return Study(recipe, out, fabric, progress).run()


class Study:
    """The stages of one study. Cells are loaded when a stage first needs them, and kept."""

    def __init__(self, recipe: StudyRecipe, out: Path, fabric: Fabric, progress: Progress) -> None:
        self.recipe, self.out, self.fabric, self.progress = recipe, out, fabric, progress
        self.stages = Stages(out)
        source, target = (read_site(site, progress) for site in (recipe.source, recipe.target))
        self.classes = shared_classes(source, target, recipe.classes)
        settle = partial(
            prepare_site, classes=self.classes, seed=recipe.seed, stages=self.stages, progress=self.progress
        )
        self.source = settle(recipe.source, source, parts=recipe.source_parts)
        self.target = settle(recipe.target, target, parts=recipe.target_parts)
        refuse_shared_files(self.source, self.target)
        self.cells = cache(self._cells)

    def run(self) -> StudyResults:
        """Do all stages that are not done, and write what was found."""
        describe_run(self.out, self.recipe, str(self.fabric.device))
        for wish in self.recipe.classifiers:
            self._check(wish)
        classifiers = {wish.name: self._classifier(wish) for wish in self.recipe.classifiers}
        restained = self._restain(self._translator())
        predictions = [p for name, classifier in classifiers.items() for p in self._test(name, classifier, restained)]
        if self.recipe.again is not None:
            predictions += [p for wish in self.recipe.classifiers for p in self._again(wish, restained)]
        seen = {(r.method, r.snapshot_name): r.seen for r in restained}
        if self.recipe.agreement is not None:
            agreement = self._agreement(self.recipe.agreement, classifiers, restained)
            agreed = agreement.run(self.stages)
            seen |= {(p.images, None): agreement.files_seen for p in agreed if p.images != ORIGINAL}
            predictions += agreed
        return self._report(predictions, restained, seen)

    def _agreement(
        self, wish: AgreementRecipe, classifiers: Mapping[str, Classifier], restained: Sequence[Restained]
    ) -> AgreementStudy:
        size_px, last = self.recipe.size_px, restained[-1].snapshot
        trained = {w.name: w.train for w in self.recipe.classifiers if w.train is not None}
        folders = {name: f"classifiers/{folder_name(name)}" for name in trained}
        target = self.cells(TARGET, ("train",), size_px)
        steps = Agreeing(
            recipe=wish,
            target=target,
            seen=self.cells(SOURCE, self._seen_parts(), size_px),
            labelled=self.cells(SOURCE, ("train",), size_px),
            translator=NeuralStandardizer.from_snapshot(last.path) if last is not None and wish.translator else None,
            seed=self.recipe.seed,
            fabric=self.fabric,
            progress=self.progress,
        )
        return AgreementStudy(
            steps=steps,
            learners=tuple(
                Learner(list_snapshots(self.out / folders[name])[-1].path, config.view == "shape", target)
                for name, config in trained.items()
            ),
            others=tuple(found for name, found in classifiers.items() if name not in trained),
            sites=(self.source.name, self.target.name),
            home=self.cells(TARGET, ("test",), size_px),
            test=self.cells(SOURCE, ("test",), size_px),
            inputs={
                "classifiers": [w.model_dump(mode="json") for w in self.recipe.classifiers],
                "trained": [self.stages.key(folder) for folder in folders.values()],
                "translator": self.stages.key("translator"),
                "tested_epochs": self.recipe.tested_epochs,
                "source": self.source.described(),
                "order": self.source.listed(),
                "mode": self.recipe.mode,
                "size_px": size_px,
                "seed": self.recipe.seed,
            },
        )

    def _report(
        self,
        predictions: Sequence[Predictions],
        restained: Sequence[Restained],
        seen: Mapping[tuple[str, str | None], frozenset[str]],
    ) -> StudyResults:
        size_px = self.recipe.size_px
        test, home = self.cells(SOURCE, ("test",), size_px), self.cells(TARGET, ("test",), size_px)
        truth = self._truth(test)
        facts = study_facts(self.recipe, self.source, self.target, restained)
        facts |= structure_facts(test, restained)
        facts |= {f"seconds, {name}": seconds for name, seconds in self.stages.seconds().items()}
        results = collect(self.recipe, self.classes, predictions, test, restained, truth, facts | versions(), seen)
        write_predictions(predictions, self.classes, self.out / "predictions.csv")
        with atomic_write(self.out / "results.json") as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        picture = draw_figure_4(self.classes, test, restained, home, truth)
        write_image(self.out / "figure-4.png", picture)
        losses = loss_curves(self.out / "translator" / "events.jsonl")
        shown = study_pictures(self.classes, test, restained, home, truth, losses)
        write_study_report(results, shown, self.out / "report.html")
        return results

    def _truth(self, test: CellSet) -> CellSet | None:
        if self.recipe.truth is None:
            return None
        manifest = read_site(self.recipe.truth, self.progress)
        wanted = manifest.select(pl.col("path").is_in(test.ids))
        size_px = self.recipe.size_px
        return load_cells(wanted, classes=self.classes, size_px=size_px, crop_px=self.source.crop_px)

    def _cells(self, which: Which, parts: tuple[str, ...], size_px: int) -> CellSet:
        site = self.source if which == SOURCE else self.target
        return site.cells(parts, self.classes, size_px, self.progress)

    # Block 2, first half: classifiers of the target site.

    def _check(self, wish: ClassifierRecipe) -> None:
        """Find out before hours of training, not after, that a classifier cannot be had."""
        if wish.train is None:
            self._classifier(wish)
        else:
            network = new_network(wish.train.architecture, wish.train.size_px, len(self.classes))
            if wish.train.weights is not None:
                load_start(network, wish.train.architecture, wish.train.weights)

    def _classifier(self, wish: ClassifierRecipe) -> Classifier:
        if wish.external is not None:
            return align_classes(load_external(wish.external), self.classes)
        assert wish.train is not None  # the recipe's own check
        config = wish.train
        inputs = {
            "config": config.model_dump(mode="json"),
            "cells": self.target.described(),
            "classes": self.classes,
            "size_px": self.recipe.size_px,
            "seed": self.recipe.seed,
        }
        folder = self.stages.run(
            f"classifiers/{folder_name(wish.name)}",
            inputs,
            lambda f: self._train_classifier(wish.name, config, f),
            drop_checkpoints,
        )
        return SnapshotClassifier.from_snapshot(list_snapshots(folder)[-1].path)

    def _train_classifier(self, name: str, config: ClassifierConfig, folder: Path) -> None:
        size_px, progress = self.recipe.size_px, prefixed(self.progress, name)
        fine_tune(
            config,
            self.cells(TARGET, ("train",), size_px),
            folder,
            self.fabric,
            seed=self.recipe.seed,
            progress=progress,
        )
        drop_checkpoints(folder)

    # Block 1: the translator and what it makes of the source.

    def _translator(self) -> list[Snapshot]:
        config = self.recipe.translator
        inputs = {
            "config": config.model_dump(mode="json"),
            "source": self.source.described(),
            "target": self.target.described(),
            "mode": self.recipe.mode,
            "seed": self.recipe.seed,
        }
        folder = self.stages.run("translator", inputs, self._train_translator, drop_checkpoints)
        return snapshots_of(list_snapshots(folder), self.recipe.tested_epochs, config.batch_size)

    def _train_translator(self, folder: Path) -> None:
        config = self.recipe.translator
        train_translator(
            config,
            self.cells(SOURCE, self._seen_parts(), config.load_px),
            self.cells(TARGET, ("train",), config.load_px),
            folder,
            self.fabric,
            seed=self.recipe.seed,
            progress=prefixed(self.progress, "translator"),
        )

    def _restain(self, snapshots: Sequence[Snapshot]) -> list[Restained]:
        parts = {part: self.cells(SOURCE, (part,), self.recipe.size_px) for part in ("train", "test")}
        normalized = [self._normalized(name, parts) for name in self.recipe.normalizers]
        return normalized + [self._translated(snapshot, parts) for snapshot in snapshots]

    def _translated(self, snapshot: Snapshot, parts: Mapping[str, CellSet]) -> Restained:
        size_px = self.recipe.size_px

        def work(folder: Path) -> None:
            restain(NeuralStandardizer.from_snapshot(snapshot.path), parts, folder)
            restain_back(snapshot, self.cells(TARGET, ("test",), size_px), folder)

        inputs = {"translator": self.stages.key("translator"), "cells": self.source.listed(), "size_px": size_px}
        done = read_restained(parts, self.stages.run(f"restained/{snapshot.name}", inputs, work))
        seen = frozenset(read_header(snapshot.path)["seen"])
        return Restained(self.recipe.translator.model.kind, snapshot, done["train"], done["test"], seen)

    def _normalized(self, name: str, parts: Mapping[str, CellSet]) -> Restained:
        size_px = self.recipe.size_px
        source, target = self.cells(SOURCE, self._seen_parts(), size_px), self.cells(TARGET, ("train",), size_px)

        def work(folder: Path) -> None:
            normalizer = fit_normalizer(name, source.images, target.images)
            (folder / "normalizer.json").write_text(normalizer.to_json(), encoding="utf-8")
            restain(normalizer, parts, folder)

        inputs = {
            "normalizer": name,
            "source": self.source.described(),
            "target": self.target.described(),
            "cells": self.source.listed(),
            "mode": self.recipe.mode,
            "size_px": size_px,
        }
        done = read_restained(parts, self.stages.run(f"restained/{name}", inputs, work))
        return Restained(name, None, done["train"], done["test"], frozenset((*source.hashes, *target.hashes)))

    def _seen_parts(self) -> tuple[str, ...]:
        """Return the parts of the source that a method may be fitted on, unlabelled."""
        return tuple(part for part in self.recipe.source_parts if part != "test" or self.recipe.mode == "transductive")

    # Block 2, second half: tests, before and after fine-tuning on the source.

    def _test(self, name: str, classifier: Classifier, restained: Sequence[Restained]) -> list[Predictions]:
        size_px = self.recipe.size_px
        home = self._predict(name, classifier, self.cells(TARGET, ("test",), size_px), site=self.target.name)
        tests = [self._predict(name, classifier, self.cells(SOURCE, ("test",), size_px), site=self.source.name)]
        tests += [
            self._predict(name, classifier, r.test, site=self.source.name, images=r.method, snapshot=r.snapshot_name)
            for r in restained
        ]
        self.progress(f"testing {name}", 1, 1)
        return [home, *tests]

    def _again(self, wish: ClassifierRecipe, restained: Sequence[Restained]) -> list[Predictions]:
        if wish.train is None:
            return []  # a classifier that came as a file is used as it came
        size_px = self.recipe.size_px
        tests = [
            self._again_on(
                wish, "original", None, self.cells(SOURCE, ("train",), size_px), self.cells(SOURCE, ("test",), size_px)
            )
        ]
        translated = [r for r in restained if r.snapshot is not None]
        return tests + [self._again_on(wish, r.method, r.name, r.train, r.test) for r in translated]

    def _again_on(
        self, wish: ClassifierRecipe, images: str, snapshot: str | None, train: CellSet, test: CellSet
    ) -> Predictions:
        again, first = self.recipe.again, f"classifiers/{folder_name(wish.name)}"
        assert again is not None  # the caller's check
        assert wish.train is not None
        start = list_snapshots(self.out / first)[-1].path
        rate = again.rate_share * read_header(start)["learning_rate"]
        config = wish.train.model_copy(update={"epochs": again.epochs, "learning_rate": rate, "frozen_epochs": 0})

        def work(folder: Path) -> None:
            progress = prefixed(self.progress, f"{wish.name} again on {snapshot or images}")
            fine_tune(config, train, folder, self.fabric, seed=self.recipe.seed, progress=progress, start=start)
            classifier = SnapshotClassifier.from_snapshot(list_snapshots(folder)[-1].path)
            found = self._predict(
                wish.name, classifier, test, self.source.name, images=images, snapshot=snapshot, labels_used=len(train)
            )
            write_predictions([found], self.classes, folder / "predictions.csv")

        inputs = {
            "again": again.model_dump(),
            "source": self.source.described(),
            "classifier": self.stages.key(first),
            "order": self.source.listed(),
            "translator": None if snapshot is None else self.stages.key(f"restained/{snapshot}"),
        }
        folder = self.stages.run(f"again/{folder_name(wish.name)}/{snapshot or images}", inputs, work, drop_checkpoints)
        return read_predictions(folder / "predictions.csv")[0][0]

    def _predict(
        self,
        name: str,
        classifier: Classifier,
        cells: CellSet,
        site: str,
        *,
        images: str = "original",
        snapshot: str | None = None,
        labels_used: int = 0,
    ) -> Predictions:
        return Predictions(
            site=site,
            part="test",
            classifier=name,
            images=images,
            snapshot=snapshot,
            labels_used=labels_used,
            ids=cells.ids,
            truth=cells.labels,
            probabilities=classifier.probabilities(cells.images),
        )


def snapshots_of(snapshots: Sequence[Snapshot], epochs: Sequence[int], batch_size: int) -> list[Snapshot]:
    """Return the snapshot of each epoch: that of the batch which completed it.

    Raises:
        RecipeError: an epoch has none.
    """
    found = {epoch: s for epoch in epochs for s in snapshots if _is_of(s, epoch, batch_size)}
    missing = [epoch for epoch in epochs if epoch not in found]
    if missing:
        raise RecipeError(
            f"expected tested_epochs among the snapshots' epochs {[s.epoch for s in snapshots]}, got {missing}; "
            "change tested_epochs, or snapshot_every_epochs of the translator"
        )
    return [found[epoch] for epoch in epochs]


def _is_of(snapshot: Snapshot, epoch: int, batch_size: int) -> bool:
    epoch_images = round(snapshot.images / snapshot.epoch)
    return 0 <= snapshot.images - epoch * epoch_images < batch_size
