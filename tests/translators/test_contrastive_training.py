"""CUT and FastCUT as whole trainings: resumed, rebuilt from a snapshot, and learning on simulated hospitals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy import cpu

from hemabridge.data.cells import CellSet, load_cells
from hemabridge.data.manifest import read_manifest
from hemabridge.errors import ModelError
from hemabridge.imaging.files import read_image
from hemabridge.metrics.closeness import gradient_correlation, mean_delta_e_2000
from hemabridge.models import open_model
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
from hemabridge.networks.resnet_generator import ResnetGenerator
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.config import LoopConfig
from hemabridge.training.snapshots import read_snapshot
from hemabridge.translators import train
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import ContrastiveConfig

CUT = ContrastiveConfig(
    generator=ResnetGeneratorConfig(channels=2, blocks=1, downsampling="blurred", upsampling="bilinear"),
    discriminator=PatchDiscriminatorConfig(channels=2, layers=1, downsampling="blurred"),
    layers=("pixels", "down-2", "block-1"),
    projection_width=8,
    patches=12,
)
FASTCUT = CUT.model_copy(update={"contrast_weight": 10.0, "identity": False, "flip_equivariance": True})
CLASSES = ("neutrophil", "lymphocyte")
MODELS = {"cut": CUT, "fastcut": FASTCUT}


def tiny(model: ContrastiveConfig, images: int) -> TranslatorConfig:
    return TranslatorConfig(
        model=model,
        load_px=20,
        crop_px=16,
        epoch_images=images // 2,
        constant_epochs=1,
        decay_epochs=1,
        stepping="corrected",
        snapshot_every_epochs=1,
        average_half_life_images=4,
    )


def site(seed: int, count: int) -> CellSet:
    images = np.random.default_rng(seed).integers(0, 256, (count, 20, 20, 3), dtype=np.uint8)
    names = tuple(f"{seed}-{i}" for i in range(count))
    return CellSet(images, np.full(count, -1), (), names, names, 40 + seed)


def state(folder: Path) -> dict[str, torch.Tensor]:
    found = read_newest_checkpoint(folder / "state")
    assert found is not None
    return found[0]


class CutError(Exception):
    """Stands for what ends a process."""


@pytest.mark.parametrize("cut_at", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("name", MODELS)
def test_a_cut_training_that_is_resumed_equals_an_uncut_one_to_the_bit(
    name: str, cut_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sites = tiny(MODELS[name], 8), (site(1, 5), site(2, 7))

    def cut(_label: str, done: int, _total: int) -> None:
        if done == cut_at:
            raise CutError

    train.train_translator(config, *sites, tmp_path / "whole", cpu(), seed=0)
    monkeypatch.setattr(train, "LoopConfig", lambda **values: LoopConfig(**values, checkpoint_every_seconds=1e-9))
    with pytest.raises(CutError):
        train.train_translator(config, *sites, tmp_path / "cut", cpu(), seed=0, progress=cut)
    train.train_translator(config, *sites, tmp_path / "cut", cpu(), seed=0)
    whole, resumed = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert whole.keys() == resumed.keys()
    assert any("nets/projection/" in key for key in whole)
    assert any("optimizers/generator/" in key for key in whole)
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


def test_a_snapshot_re_stains_to_the_target_and_says_that_it_knows_no_way_back(tmp_path: Path) -> None:
    snapshots = train.train_translator(tiny(CUT, 4), site(1, 5), site(2, 7), tmp_path, cpu(), seed=0)
    path = snapshots[-1].path
    weights, _ = read_snapshot(path)
    assert {key.split("/")[0] for key in weights} == {"to_target"}
    generator = ResnetGenerator(CUT.generator).eval()
    generator.load_state_dict({key.removeprefix("to_target/"): tensor for key, tensor in weights.items()})
    images = np.random.default_rng(3).integers(0, 256, (2, 16, 12, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = from_network(generator(to_network(images)))
    standardizer = open_model(path).cell_standardizer()
    np.testing.assert_array_equal(standardizer.standardize(images), expected)
    assert standardizer.standardize(images[:, :11, :7]).shape == (2, 11, 7, 3)
    with pytest.raises(
        ModelError, match="expected a translator with the direction to_source, got one with only to_target"
    ):
        open_model(path).cell_standardizer("to_source")
    sample = read_image(tmp_path / "samples" / f"{snapshots[-1].name}.png")
    assert sample.shape == (2 * 16, 5 * 16, 3)  # each cell of the smaller site once


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_simulated_cells_come_nearer_to_their_truth_and_keep_their_edges(
    name: str, hospitals: Path, tmp_path: Path
) -> None:
    """The same cells as the target hospital would have shown them: the color difference falls by a third or more."""
    source, target, truth = (
        load_cells(read_manifest(hospitals / folder / "manifest.csv"), classes=CLASSES, size_px=40, crop_px=32)
        for folder in ("yellow-field", "clinic-like", "truth")
    )
    model = ContrastiveConfig(
        generator=ResnetGeneratorConfig(channels=8, blocks=1, upsampling="bilinear"),
        discriminator=PatchDiscriminatorConfig(channels=16, layers=1, norm="none"),
        layers=("pixels", "down-1", "block-1"),
        projection_width=32,
        patches=64,
        **MODELS[name].model_dump(include={"contrast_weight", "identity", "flip_equivariance"}),
    )
    changes = {"load_px": 40, "crop_px": 32, "learning_rate": 1e-3, "average_half_life_images": 40}
    config = tiny(model, 320).model_copy(update=changes)
    snapshots = train.train_translator(config, source, target, tmp_path, cpu(), seed=0)
    restained = open_model(snapshots[-1].path).cell_standardizer().standardize(source.images)
    before, after = (mean_delta_e_2000(images, truth.images) for images in (source.images, restained))
    assert np.mean(after) < 0.67 * np.mean(before)
    assert np.mean(gradient_correlation(restained, source.images)) > 0.8
