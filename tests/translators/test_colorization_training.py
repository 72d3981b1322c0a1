import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_colorizers import MODELS, cells, noise
from toy import cpu

from hemabridge.data.simulate import HOSPITALS, list_cells, render
from hemabridge.errors import ModelError
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.models import open_model
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetUnetConfig, UnetConfig
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.config import LoopConfig
from hemabridge.training.objective import Batch
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators import train
from hemabridge.translators.batches import UnpairedBatches, to_network
from hemabridge.translators.colorization_audit import chroma_error
from hemabridge.translators.colorization_nets import Colorizer
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import ColorizationConfig, GrayThenColorConfig
from hemabridge.translators.presets import PRESETS


def small(model: ColorizationConfig | GrayThenColorConfig) -> TranslatorConfig:
    return TranslatorConfig(
        model=model,
        load_px=20,
        crop_px=16,
        batch_size=2,
        epoch_images=4,
        constant_epochs=1,
        decay_epochs=1,
        snapshot_every_epochs=2,
        average_half_life_images=4,
    )


class CutError(Exception):
    pass


@dataclasses.dataclass(frozen=True, eq=False)
class CutBatches(UnpairedBatches):
    """Batches that end as a killed process does."""

    def __call__(self, images: int) -> Iterator[Batch]:
        yield from itertools.islice(super().__call__(images), 2)
        raise CutError


@pytest.mark.parametrize("name", MODELS)
def test_a_run_that_was_cut_and_resumed_equals_an_uncut_one_to_the_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, config = cells(noise(0, 5), "s"), cells(noise(1, 5), "t"), small(MODELS[name])
    train.train_translator(config, source, target, tmp_path / "whole", cpu(), seed=0)
    with monkeypatch.context() as cut:
        cut.setattr(train, "UnpairedBatches", CutBatches)
        cut.setattr(train, "LoopConfig", lambda **values: LoopConfig(**values, checkpoint_every_seconds=1e-9))
        with pytest.raises(CutError):
            train.train_translator(config, source, target, tmp_path / "cut", cpu(), seed=0)
    train.train_translator(config, source, target, tmp_path / "cut", cpu(), seed=0)
    found = [read_newest_checkpoint(tmp_path / folder / "state") for folder in ("whole", "cut")]
    assert found[0] is not None
    assert found[1] is not None
    whole, cut_then_resumed = found[0][0], found[1][0]
    assert whole.keys() == cut_then_resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], cut_then_resumed[key])] == []


def test_a_snapshot_keeps_what_was_measured_and_knows_no_way_back(tmp_path: Path) -> None:
    source, target = noise(0, 5), noise(1, 5) // 2 + 90
    train.train_translator(small(MODELS["ab-hint"]), cells(source, "s"), cells(target, "t"), tmp_path, cpu(), seed=0)
    path = list_snapshots(tmp_path)[-1].path
    net = open_model(path).cell_standardizer().generator
    measured = Colorizer(MODELS["ab-hint"])
    measured.measure(source, target)
    for name, buffer in measured.named_buffers():
        if "chroma" in name or name == "curve":
            assert torch.equal(buffer, dict(net.named_buffers())[name])
    with pytest.raises(ModelError, match="to_source"):
        open_model(path).cell_standardizer("to_source")


def test_what_was_done_to_chroma_lies_beside_each_snapshot(tmp_path: Path) -> None:
    source, named = (
        noise(0, 3),
        dataclasses.replace(cells(noise(1, 4), "t"), labels=np.array([0, 1, 1, -1]), classes=("blast", "monocyte")),
    )
    for kind in ("ab-hint", "gray-then-color"):
        train.train_translator(small(MODELS[kind]), cells(source, "s"), named, tmp_path / kind, cpu(), seed=0)
    last = list_snapshots(tmp_path / "ab-hint")[-1]
    told = json.loads((tmp_path / "ab-hint" / "samples" / f"{last.name}.colors.json").read_text(encoding="utf-8"))
    net = open_model(last.path).cell_standardizer().generator
    assert isinstance(net, Colorizer)
    shares = [net.color(to_network(image[None])).clipped_fraction.item() for image in source]
    assert told["clipped"] == pytest.approx(np.mean(shares))
    assert told["cells"] == {"source": 3, "target": 4}
    assert set(told["chroma_error"]) == {"blast", "monocyte"}
    assert told["chroma_error"] == pytest.approx(chroma_error(net, named.images, named.labels, named.classes))
    assert list((tmp_path / "gray-then-color").rglob("*.colors.json")) == []


def test_the_paper_s_preset_is_the_reference_colorization() -> None:
    paper = PRESETS["paper-colorization"].config
    assert isinstance(paper.model, ColorizationConfig)
    assert paper.model.backbone == UnetConfig(channels=64, levels=8, norm="batch", dropout=True)
    assert (paper.model.output, paper.model.l1_weight, paper.model.hint_px) == ("ab", 100.0, None)
    assert (paper.model.discriminator.channels, paper.model.discriminator.layers) == (64, 3)
    assert (paper.load_px, paper.crop_px, paper.batch_size, paper.learning_rate) == (286, 256, 1, 2e-4)
    assert (paper.constant_epochs, paper.decay_epochs, paper.optimizer.beta1) == (100, 100, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs", "bar"), [("ab", 4, 1 / 3), ("gray-then-color", 5, 1 / 2)])
def test_color_learned_from_target_images_alone_brings_another_hospital_nearer(
    name: str, epochs: int, bar: float, tmp_path: Path
) -> None:
    """After some 3000 images the color difference to the truth is a share of what it was.

    The gray must be learned too, so gray-then-color is given more images and a lower bar.
    """
    classes = ("neutrophil", "eosinophil", "lymphocyte")
    shown, held = list_cells(classes, 20, 1), list_cells(classes, 8, 0)
    target, source = (
        np.stack([render(cell, HOSPITALS[site], 32) for cell in some])
        for site, some in (("clinic-like", shown), ("yellow-field", held))
    )
    truth = rgb_to_lab(np.stack([render(cell, HOSPITALS["clinic-like"], 32, noise=False) for cell in held]))
    backbone = ResnetUnetConfig(channels=8, blocks=(1, 1))
    discriminator = PatchDiscriminatorConfig(channels=8, layers=1)
    config = TranslatorConfig(
        model=ColorizationConfig(backbone=backbone, discriminator=discriminator)
        if name == "ab"
        else GrayThenColorConfig(fading=backbone, coloring=backbone, discriminator=discriminator),
        load_px=32,
        crop_px=24,
        batch_size=8,
        learning_rate=1e-3,
        epoch_images=800,
        constant_epochs=epochs - 2,
        decay_epochs=2,
        stepping="corrected",
        average_half_life_images=200,
    )
    train.train_translator(config, cells(source, "s"), cells(target, "t"), tmp_path, cpu(), seed=0)
    restained = open_model(list_snapshots(tmp_path)[-1].path).cell_standardizer().standardize(source)

    def difference(images: np.ndarray) -> float:
        return float(delta_e_2000(rgb_to_lab(images), truth).mean())

    assert difference(restained) < bar * difference(source)
