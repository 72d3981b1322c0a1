"""Block 1 of the paper in a study: translators and normalizers, and the source's cells that they re-stain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError, RecipeError
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models import open_model
from hemabridge.models.model import Model
from hemabridge.models.open import open_translator
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.study_folder import (
    NORMALIZER,
    TRANSLATOR_STAGE,
    StudyFolder,
    cells_file,
    compared_stage,
    restained_stage,
)
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.normalizers.normalizer import CellScale
from hemabridge.progress import prefixed
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import Snapshot, epoch_name, list_snapshots
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import method_name
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.train import train_translator
from hemabridge.workflows.study.inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study.restained import Restained, read_restained, restain, restain_back


class StudyTranslation:
    """Trains translators; re-stains the source with each tested snapshot, compared translator and normalizer."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.recipe, self.stages = inputs, inputs.recipe, inputs.stages

    def run(self) -> list[Restained]:
        """Return the source's cells, re-stained by each normalizer, each compared translator and each tested snapshot.

        Each translator gets cells of its own size, cut from the original images; so `Restained.size_px` may differ.
        """
        recipe = self.recipe
        snapshots = self._trained(TRANSLATOR_STAGE, recipe.translator)
        tested = snapshots_of(snapshots, recipe.tested_epochs, recipe.translator.batch_size)
        parts = self._parts(recipe.size_px)
        restained = [self._normalized(name, parts) for name in recipe.normalizers]
        restained += [self._compared(name) for name in recipe.translators]
        return restained + [self._of_snapshot(snapshot.path, parts) for snapshot in tested]

    def at(self, restained: Sequence[Restained], size_px: int) -> list[Restained]:
        """Return the same re-stainings at the cell size of a consumer.

        The cells are cut from the original images; see `restained_at`.
        """
        return [each if each.size_px == size_px else self._at(each, size_px) for each in restained]

    def _parts(self, size_px: int) -> dict[str, CellSet]:
        return {part: self.inputs.cells(SOURCE, part, size_px=size_px) for part in ("train", "test")}

    def _at(self, restained: Restained, size_px: int) -> Restained:
        parts = self._parts(size_px)

        def work(folder: Path) -> None:
            for part in parts:
                images = restained_at(restained.model, partial(self._images, part), size_px)
                np.save(folder / cells_file(part), images, allow_pickle=False)

        inputs = {
            "restained": self.stages.key(restained_stage(restained.name)),
            "cells": self.inputs.source.listed(),
            "size_px": size_px,
        }
        done = read_restained(parts, self.stages.run(restained_stage(restained.name, size_px), inputs, work))
        return replace(restained, train=done["train"], test=done["test"])

    def _images(self, part: str, size_px: int) -> UInt8Images:
        return self.inputs.cells(SOURCE, part, size_px=size_px).images

    def _trained(self, stage: str, config: TranslatorConfig) -> list[Snapshot]:
        inputs = {
            "config": config.model_dump(mode="json"),
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "mode": self.recipe.mode,
            "seed": self.recipe.seed,
        }

        def work(folder: Path) -> None:
            train_translator(
                config,
                self.inputs.cells(SOURCE, *self.inputs.seen_parts, size_px=config.load_px),
                self.inputs.cells(TARGET, "train", size_px=config.load_px),
                folder,
                self.inputs.fabric,
                seed=self.recipe.seed,
                progress=prefixed(self.inputs.progress, stage.replace("/", " ")),
            )

        return list_snapshots(self.stages.run(stage, inputs, work, drop_checkpoints))

    def _compared(self, preset: str) -> Restained:
        stage, config = compared_stage(preset), PRESETS[preset].config
        last = open_translator(self._trained(stage, config)[-1].path)
        done = self._translated(preset, stage, last, self._parts(config.crop_px))
        return Restained(preset, None, last, done["train"], done["test"], frozenset(last.header.seen))

    def _of_snapshot(self, path: Path, parts: Mapping[str, CellSet]) -> Restained:
        model = open_translator(path)
        header, snapshot = model.header, Snapshot(path, (model.header.images, model.header.epoch))
        done = self._translated(snapshot.name, TRANSLATOR_STAGE, model, parts)
        method = method_name(self.recipe.translator.model)
        return Restained(method, snapshot, model, done["train"], done["test"], frozenset(header.seen))

    def _translated(
        self, name: str, trained: str, model: TranslatorModel, parts: Mapping[str, CellSet]
    ) -> dict[str, CellSet]:
        size_px = parts["test"].images.shape[1]

        def work(folder: Path) -> None:
            restain(model.cell_standardizer(), parts, folder)
            restain_back(model, self.inputs.cells(TARGET, "test", size_px=size_px), folder)

        inputs = {
            "translator": self.stages.key(trained),
            "cells": self.inputs.source.listed(),
            "size_px": size_px,
        }
        return read_restained(parts, self.stages.run(restained_stage(name), inputs, work))

    def _normalized(self, name: str, parts: Mapping[str, CellSet]) -> Restained:
        source = self.inputs.cells(SOURCE, *self.inputs.seen_parts)
        target = self.inputs.cells(TARGET, "train")
        scale = CellScale(source_crop_px=source.crop_px, target_crop_px=target.crop_px, size_px=self.recipe.size_px)

        def work(folder: Path) -> None:
            normalizer = fit_on_cells(name, source.images, target.images, scale)
            (folder / NORMALIZER).write_text(normalizer.to_json(), encoding="utf-8")
            restain(normalizer.of_cells(), parts, folder)

        inputs = {
            "normalizer": name,
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "cells": self.inputs.source.listed(),
            "mode": self.recipe.mode,
            "size_px": self.recipe.size_px,
        }
        folder = self.stages.run(restained_stage(name), inputs, work)
        done, seen = read_restained(parts, folder), frozenset((*source.hashes, *target.hashes))
        return Restained(name, None, open_model(folder / NORMALIZER), done["train"], done["test"], seen)


@dataclass(frozen=True)
class FittedRestaining:
    """A model with which a finished study re-stains: `method` and `snapshot` as in its results, `path` of its file."""

    method: str
    snapshot: str | None
    path: Path


def restained_at(model: Model, images_at: Callable[[int], UInt8Images], size_px: int) -> UInt8Images:
    """Re-stain cells for a consumer of `size_px` pixels: uint8[N, size_px, size_px, 3].

    A normalizer works on cells of `size_px`. A translator works on cells of its own size. If that is smaller, its
    change of color is enlarged and added to the original, which keeps its detail (`RescaledStandardizer`). If it is
    larger, the result of the translator is reduced to `size_px`.

    Args:
        model: a model that re-stains.
        images_at: returns the cells, cut from the original images, at a size in pixels, uint8[N, S, S, 3].
        size_px: side of the cells that the consumer needs, in pixels.

    Raises:
        ModelError: the file is damaged.
    """
    if not isinstance(model, TranslatorModel):
        return model.cell_standardizer().standardize(images_at(size_px))
    cut_px = max(size_px, model.crop().size_px)
    restained = translator_at(model, cut_px).standardize(images_at(cut_px))
    if cut_px == size_px:
        return restained
    out: UInt8Images = np.empty((len(restained), size_px, size_px, 3), np.uint8)
    for place, image in enumerate(restained):
        out[place] = resize_square(image, size_px)
    return out


def translator_at(model: TranslatorModel, size_px: int) -> Standardizer:
    """Return a translator for cells of `size_px` pixels, to which the change at its own size is applied.

    Raises:
        ModelError: the file is damaged.
    """
    translator, own_px = model.cell_standardizer(), model.crop().size_px
    return translator if size_px == own_px else RescaledStandardizer(translator, own_px / size_px)


def fitted_restainings(recipe: StudyRecipe, folder: Path) -> list[FittedRestaining]:
    """Return all models with which a finished study re-stained, in its order; the last tested snapshot is the last.

    Raises:
        InputError: a file is missing.
    """
    study = StudyFolder(folder)
    normalizers = [(name, None, study.normalizer(name)) for name in recipe.normalizers]
    compared = [(name, list_snapshots(study.compared(name))) for name in recipe.translators]
    own = list_snapshots(study.translator)
    missing = [name for name, _, path in normalizers if not path.is_file()]
    missing += [name for name, snapshots in (*compared, ("translator", own)) if not snapshots]
    if missing:
        raise InputError(
            f"expected the re-stainings of a finished study, got no {', '.join(missing)} in {folder}; "
            "run the study again"
        )
    tested = snapshots_of(own, recipe.tested_epochs, recipe.translator.batch_size)
    method = method_name(recipe.translator.model)
    return [
        *(FittedRestaining(*found) for found in normalizers),
        *(FittedRestaining(name, None, snapshots[-1].path) for name, snapshots in compared),
        *(FittedRestaining(method, snapshot.name, snapshot.path) for snapshot in tested),
    ]


def snapshots_of(snapshots: Sequence[Snapshot], epochs: Sequence[int], batch_size: int) -> list[Snapshot]:
    """Return the snapshot of each epoch: the one after the batch that completed the epoch.

    Headers are read only for an epoch that is not the name of a snapshot because it ends within a batch.

    Raises:
        RecipeError: an epoch has none.
    """
    named = {snapshot.name: snapshot for snapshot in snapshots}
    if all(epoch_name(epoch) in named for epoch in epochs):
        return [named[epoch_name(epoch)] for epoch in epochs]
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
