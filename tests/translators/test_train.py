import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import cpu

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, RunError
from hemabridge.imaging.files import read_image
from hemabridge.metrics.closeness import gradient_correlation, mean_delta_e_2000
from hemabridge.models import open_model
from hemabridge.networks.config import (
    BilateralGridConfig,
    ColorLutConfig,
    MultiScaleDiscriminatorConfig,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    PixelNetworkConfig,
    ResnetGeneratorConfig,
)
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.config import LoopConfig
from hemabridge.training.objective import Batch
from hemabridge.training.snapshots import list_snapshots, read_snapshot
from hemabridge.translators import train
from hemabridge.translators.batches import UnpairedBatches
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import AugmentationConfig, CycleGanConfig
from hemabridge.translators.presets import PRESETS

TINY = TranslatorConfig(
    model=CycleGanConfig(
        generator=ResnetGeneratorConfig(channels=2, blocks=1),
        discriminator=PatchDiscriminatorConfig(channels=2, layers=1),
        pool_size=3,
    ),
    load_px=20,
    crop_px=16,
    epoch_images=4,
    constant_epochs=2,
    decay_epochs=2,
    snapshot_every_epochs=2,
    snapshot_images=(6,),
    average_half_life_images=4,
)


def site(seed: int, count: int, size_px: int = 20) -> CellSet:
    images = np.random.default_rng(seed).integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)
    names = tuple(f"{seed}-{i}" for i in range(count))
    return CellSet(images, np.full(count, -1), (), names, names, 40 + seed)


def state(folder: Path) -> dict[str, torch.Tensor]:
    found = read_newest_checkpoint(folder / "state")
    assert found is not None
    return found[0]


class CutError(Exception):
    pass


@dataclasses.dataclass(frozen=True, eq=False)
class CutBatches(UnpairedBatches):
    """Batches that end as a killed process does."""

    def __call__(self, images: int) -> Iterator[Batch]:
        for number, batch in enumerate(super().__call__(images)):
            if images + number == 9:
                raise CutError
            yield batch


def tiny(**changes: object) -> TranslatorConfig:
    return TINY.model_copy(update={"model": TINY.model.model_copy(update=changes)})


CYCLEGANS: dict[str, TranslatorConfig] = {
    "resnet": TINY,
    "resize, spectral norm": tiny(
        generator=ResnetGeneratorConfig(channels=2, blocks=1, upsampling="nearest"),
        discriminator=PatchDiscriminatorConfig(channels=2, layers=1, norm="spectral"),
    ),
    "pixel": tiny(generator=PixelNetworkConfig(width=4), discriminator=PixelDiscriminatorConfig(channels=4)),
    "film, augmented": tiny(
        generator=PixelNetworkConfig(width=4, conditioned=True),
        discriminator=PixelDiscriminatorConfig(channels=4, norm="spectral"),
        augmentation=AugmentationConfig(cutout=0.25),
    ),
    "no discriminators": tiny(
        generator=PixelNetworkConfig(width=4), adversarial_weight=0.0, transport_weight=1.0
    ).model_copy(update={"stride": 2}),
    "lut": tiny(generator=ColorLutConfig(points=3), discriminator=PixelDiscriminatorConfig(channels=4)),
    "bilateral": tiny(
        generator=BilateralGridConfig(depth=2, channels=4),
        discriminator=MultiScaleDiscriminatorConfig(channels=2, layers=1, scales=2, colors=True),
    ),
}


LONG = ("resize, spectral norm", "bilateral", "film, augmented", "lut")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in LONG)) for kind in CYCLEGANS])
def test_cyclegan_that_was_cut_and_resumed_equals_an_uncut_one_to_the_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CYCLEGANS[kind]
    source, target = site(1, 5), site(2, 7)
    train.train_translator(config, source, target, tmp_path / "whole", cpu(), seed=0)
    with monkeypatch.context() as cut:
        cut.setattr(train, "UnpairedBatches", CutBatches)
        cut.setattr(train, "LoopConfig", lambda **values: LoopConfig(**values, checkpoint_every_seconds=1e-9))
        with pytest.raises(CutError):
            train.train_translator(config, source, target, tmp_path / "cut", cpu(), seed=0)
    assert state(tmp_path / "cut").keys() == state(tmp_path / "whole").keys()
    train.train_translator(config, source, target, tmp_path / "cut", cpu(), seed=0)

    whole, cut_then_resumed = state(tmp_path / "whole"), state(tmp_path / "cut")
    pools = {"objective/target/images", "objective/source/images"}
    assert pools <= whole.keys() or not any("discriminator" in name for name in whole)
    assert [name for name in whole if not torch.equal(whole[name], cut_then_resumed[name])] == []


def test_snapshots_by_epoch_and_by_images_with_samples_of_both_directions(tmp_path: Path) -> None:
    snapshots = train.train_translator(TINY, site(1, 5), site(2, 7), tmp_path, cpu(), seed=0)
    assert [(s.name, s.images, s.epoch) for s in snapshots] == [
        ("images-00000006", 6, 1.5),
        ("epoch-0002", 8, 2.0),
        ("epoch-0004", 16, 4.0),
    ]
    for snapshot in snapshots:
        sample = read_image(tmp_path / "samples" / f"{snapshot.name}.png")
        assert sample.shape == (4 * 16, 5 * 16, 3)  # each cell of the smaller site once
    weights, header = read_snapshot(snapshots[-1].path)
    assert {name.split("/")[0] for name in weights} == {"to_target", "to_source"}
    assert (header["source_crop_px"], header["target_crop_px"]) == (41, 42)
    assert header["seen"] == sorted({*site(1, 5).hashes, *site(2, 7).hashes})


def test_another_seed_is_another_run_and_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    source, target = site(1, 5), site(2, 7)
    train.train_translator(TINY, source, target, tmp_path / "a", cpu(), seed=0)
    train.train_translator(TINY, source, target, tmp_path / "b", cpu(), seed=1)
    one, other = (read_snapshot(list_snapshots(tmp_path / name)[-1].path)[0] for name in ("a", "b"))
    assert not torch.equal(one["to_target/layers.1.weight"], other["to_target/layers.1.weight"])
    with pytest.raises(RunError, match="seed changed"):
        train.train_translator(TINY, source, target, tmp_path / "a", cpu(), seed=1)


def test_cells_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected cells of 20 px, got 16 px"):
        train.train_translator(TINY, site(1, 5, 16), site(2, 7), tmp_path, cpu(), seed=0)


@pytest.mark.slow
def test_cyclegan_brings_colors_nearer_than_leaving_them_alone(tmp_path: Path) -> None:
    """The mean color of re-stained source images is nearer to the target's than that of the originals, by half."""
    rng = np.random.default_rng(0)

    def tinted(count: int, tint: tuple[int, int, int], name: str) -> CellSet:
        shade = rng.integers(0, 80, (count, 20, 20, 1))
        images = np.clip(np.asarray(tint) - shade, 0, 255).astype(np.uint8)
        names = tuple(f"{name}{i}" for i in range(count))
        return CellSet(images, np.full(count, -1), (), names, names, 40)

    source, target = tinted(24, (250, 230, 120), "s"), tinted(24, (230, 215, 240), "t")
    config = TINY.model_copy(
        update={
            "model": CycleGanConfig(
                generator=ResnetGeneratorConfig(channels=8, blocks=1),
                discriminator=PatchDiscriminatorConfig(channels=8, layers=1),
            ),
            "epoch_images": 60,
            "snapshot_images": (),
            "learning_rate": 1e-3,
        }
    )
    train.train_translator(config, source, target, tmp_path, cpu(), seed=0)
    model = open_model(list_snapshots(tmp_path)[-1].path).cell_standardizer()

    def gap(images: np.ndarray) -> float:
        return float(np.abs(images.mean(axis=(0, 1, 2)) - target.images.mean(axis=(0, 1, 2))).mean())

    assert gap(model.standardize(source.images)) < 0.5 * gap(source.images)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["pixel", "film", "lut", "bilateral"])
def test_a_color_translator_halves_the_distance_to_the_truth_and_keeps_the_structure(
    preset: str, tmp_path: Path
) -> None:
    """On cells that it did not see, against what the target would show; the other site's cells are other ones."""

    def rendered(hospital: str, seed: int) -> CellSet:
        classes = ("neutrophil", "lymphocyte")
        images, labels = simulate_cells(classes, 8, HOSPITALS[hospital], seed, 32)
        names = tuple(f"{hospital}-{seed}-{i}" for i in range(len(images)))
        return CellSet(images, labels, classes, names, names, 32)

    changes = {"load_px": 32, "crop_px": 32, "stride": 2, "batch_size": 16, "epoch_images": 160}
    config = PRESETS[preset].config.model_copy(update={**changes, "constant_epochs": 2, "decay_epochs": 2})
    source, target = rendered("yellow-field", 1), rendered("clinic-like", 2)
    train.train_translator(config, source, target, tmp_path, cpu(), seed=0)
    model = open_model(list_snapshots(tmp_path)[-1].path).cell_standardizer()
    cells, truth = rendered("yellow-field", 3).images, rendered("clinic-like", 3).images
    restained = model.standardize(cells)
    assert mean_delta_e_2000(restained, truth).mean() < 0.5 * mean_delta_e_2000(cells, truth).mean()
    assert gradient_correlation(restained, cells).mean() > 0.95
