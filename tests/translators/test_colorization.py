import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import cpu

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, list_cells, render
from hemabridge.errors import ModelError
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.networks.lab import rgb_to_lab as tensor_to_lab
from hemabridge.networks.patch_discriminator import PatchDiscriminatorConfig
from hemabridge.networks.unet import UnetConfig
from hemabridge.networks.unet_resnet import ResnetUnetConfig
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.engine import Engine, OptimizerConfig
from hemabridge.training.loop import LoopConfig
from hemabridge.training.objective import Batch
from hemabridge.training.schedules import Constant
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators import train
from hemabridge.translators.batches import UnpairedBatches, from_network, to_network
from hemabridge.translators.catalog import new_objective
from hemabridge.translators.colorization import Colorization, GrayThenColor, recoloured
from hemabridge.translators.colorization_config import ColorizationConfig, GrayThenColorConfig
from hemabridge.translators.colorization_judge import Painted
from hemabridge.translators.colorization_nets import AB_RANGE, Colorizer
from hemabridge.translators.config import PRESETS, TranslatorConfig
from hemabridge.translators.neural import NeuralStandardizer

UNET = UnetConfig(channels=2, levels=2)
JUDGE = PatchDiscriminatorConfig(channels=2, layers=1)
MODELS = {
    "ab": ColorizationConfig(backbone=UNET, judge=JUDGE),
    "ab-hint": ColorizationConfig(backbone=UNET, judge=JUDGE, hint_px=4),
    "rgb": ColorizationConfig(backbone=UNET, judge=JUDGE, output="rgb"),
    "gray-then-colour": GrayThenColorConfig(
        fading=ResnetUnetConfig(channels=2, blocks=(1,)), coloring=UNET, judge=JUDGE
    ),
}


def noise(seed: int, count: int, side: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def cells(images: np.ndarray, name: str) -> CellSet:
    names = tuple(f"{name}{i}" for i in range(len(images)))
    return CellSet(images, np.full(len(images), -1), (), names, names, 40)


class Answer(nn.Module):
    """Stands for a backbone that always gives the same channels, or a judge that scores every pixel alike."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values).view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), -1, *x.shape[2:])


def test_scaling_and_losses_by_hand() -> None:
    model = Colorization(MODELS["ab"])
    model.to_target.backbone = Answer(0.25, -0.5)
    model.judge_target.layers = nn.Sequential(Answer(0.3))
    target = to_network(np.full((1, 8, 8, 3), (200, 120, 150), np.uint8))
    painted = model.forward({"source": target * 0, "target": target})
    lab = rgb_to_lab(np.full((1, 1, 3), (200, 120, 150), np.uint8))[0, 0]
    assert painted.given[0, 0, 0, 0].item() == pytest.approx(lab[0] / 50 - 1, abs=1e-5)
    assert painted.real[0, :, 0, 0].tolist() == pytest.approx((lab[1:] / 110).tolist(), abs=1e-5)
    p = 1 / (1 + math.exp(-0.3))
    terms = {name: term.item() for name, term in model.generator_losses(painted).items()}
    far = (abs(0.25 - lab[1] / 110) + abs(-0.5 - lab[2] / 110)) / 2
    assert terms == pytest.approx({"adversarial_target": -math.log(p), "l1_target": 100 * far}, rel=1e-4)
    judged = model.judge_losses(painted)["judge_target"].item()
    assert judged == pytest.approx(0.5 * (-math.log(p) - math.log(1 - p)), rel=1e-5)


def test_the_judge_sees_what_was_given_beside_the_colour() -> None:
    model = Colorization(MODELS["ab"])
    seen: list[Tensor] = []
    model.judge_target.layers.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    painted = Painted(torch.full((1, 1, 16, 16), 0.1), torch.full((1, 2, 16, 16), 0.2), torch.full((1, 2, 16, 16), 0.3))
    model.judge_losses(painted)
    assert [image[0, :, 0, 0].tolist() for image in seen] == [pytest.approx([0.1, v, v]) for v in (0.3, 0.2)]


@pytest.mark.parametrize("name", MODELS)
def test_judges_step_first_and_the_generator_then_faces_the_judge_after_its_step(name: str) -> None:
    torch.manual_seed(0)
    model = new_objective(MODELS[name])
    assert [phase.trains[-1] for phase in model.phases] == ["judge_target", "to_target"]
    order: list[str] = []
    judge = dict(model.nets["judge_target"].named_parameters())["layers.0.weight"]
    before, after = judge.detach().clone(), []
    first, second = model.phases
    model.phases = (  # type: ignore[misc]
        dataclasses.replace(first, losses=lambda shared: (order.append("judge"), first.losses(shared))[1]),
        dataclasses.replace(
            second,
            losses=lambda shared: (
                order.append("generator"),
                after.append(judge.detach().clone()),
                second.losses(shared),
            )[2],
        ),
    )
    engine = Engine(cpu(), model, OptimizerConfig(beta1=0.5), dict.fromkeys(model.nets, Constant(1e-2)))
    engine.step({"source": to_network(noise(0, 2)), "target": to_network(noise(1, 2))}, 0)
    assert order == ["judge", "generator"]
    assert not torch.equal(after[0], before)


def test_luminance_is_kept_to_rounding_inside_the_gamut() -> None:
    """What comes out has the matched luminance; 8 bits move L by at most 0.5, on average by less than 0.15."""
    torch.manual_seed(3)
    model = Colorizer(MODELS["ab"]).eval()
    model.measure(noise(0, 4), noise(1, 4) // 2 + 60)
    images = to_network(noise(0, 4, 33))
    with torch.no_grad():
        colored = model.color(images)
    kept = rgb_to_lab(from_network(colored.images))[..., 0]
    off = np.abs(kept - colored.luminance[:, 0].numpy())[~colored.outside.numpy()]
    assert len(off) > 1000
    assert off.max() < 0.5
    assert off.mean() < 0.15


def test_clipped_pixels_are_counted_by_hand() -> None:
    """a = 0.9 * 110 is inside sRGB at no luminance; a = b = 0 everywhere is."""
    model = Colorizer(MODELS["ab"])
    images = to_network(noise(0, 2, 8))
    model.backbone = Answer(0.0, 0.0)
    assert model.color(images).clipped_fraction.tolist() == [0.0, 0.0]
    model.backbone = Answer(0.9, 0.0)
    colored = model.color(images)
    assert colored.clipped_fraction.tolist() == [1.0, 1.0]
    assert colored.images.abs().max().item() <= 1.0


def test_half_of_the_pixels_clipped_is_one_half() -> None:
    """b = 60: sRGB has that at L 80 (a dull yellow: 230, 195, 82) and not at L 8, nearly black."""
    model = Colorizer(MODELS["ab"].model_copy(update={"match_luminance": False}))
    model.backbone = Answer(0.0, 60 / AB_RANGE)
    light = np.zeros((1, 4, 4, 3), np.uint8)
    light[:, :2], light[:, 2:] = 198, 23
    assert model.color(to_network(light)).clipped_fraction.tolist() == [0.5]


def test_measuring_brings_the_source_s_luminance_into_the_target_s_range() -> None:
    source, target = noise(0, 6), noise(1, 6) // 3 + 150
    model = Colorizer(MODELS["ab"])
    model.measure(source, target)
    with torch.no_grad():
        matched = model.color(to_network(source)).luminance.numpy()
    wanted = rgb_to_lab(target)[..., 0]
    steps = np.linspace(0.02, 0.98, 9)
    assert np.abs(np.quantile(matched, steps) - np.quantile(wanted, steps)).max() < 0.2
    plain = Colorizer(MODELS["ab"].model_copy(update={"match_luminance": False}))
    plain.measure(source, target)
    lab = tensor_to_lab(to_network(source))
    assert torch.allclose(plain.color(to_network(source)).luminance, lab[:, :1], atol=1e-3) is True


def test_the_hint_is_the_average_chroma_in_standard_deviations_of_the_site() -> None:
    model = Colorizer(MODELS["ab-hint"])
    chroma = torch.zeros(1, 2, 10, 6)
    chroma[:, 0], chroma[:, 1] = 30.0, -8.0
    hint = model.hint(chroma, torch.tensor([[10.0, 0.0], [5.0, 4.0]]))
    assert hint is not None
    assert hint.shape == chroma.shape
    assert hint[0, 0].unique().tolist() == [4.0]
    assert hint[0, 1].unique().tolist() == [-2.0]
    checker = torch.ones(1, 2, 8, 8)
    checker[..., ::2] = -1.0
    fine = model.hint(checker, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert fine is not None
    assert fine.abs().max().item() == 0.0  # what is finer than a square is averaged away
    assert Colorizer(MODELS["ab"]).hint(chroma, model.source_chroma) is None


@pytest.mark.parametrize("name", MODELS)
def test_restaining_is_deterministic_alone_or_in_a_batch_at_any_size(name: str) -> None:
    torch.manual_seed(0)
    model = new_objective(MODELS[name])
    model.measure_sites(noise(0, 4), noise(1, 4))
    standardizer = NeuralStandardizer(model.nets["to_target"])
    images = noise(2, 3, 21)[:, :, :13]
    once = standardizer.standardize(images)
    assert once.shape == images.shape
    assert np.array_equal(standardizer.standardize(images), once)
    alone = np.concatenate([standardizer.standardize(image[None]) for image in images])
    assert np.abs(alone.astype(int) - once).max() <= 1


def test_recolouring_changes_channels_by_no_more_than_it_may_and_nothing_without_strength() -> None:
    torch.manual_seed(0)
    images = to_network(noise(0, 8))
    assert (
        torch.allclose(recoloured(images, 0.0), images, atol=2.1e-3) is True
    )  # black becomes a thousandth of the light
    light = (recoloured(torch.zeros(400, 3, 1, 1), 0.5) + 1) / 2  # from 0.5
    low, high = math.exp(-0.5) * 0.5 ** math.exp(0.5), 0.5 ** math.exp(-0.5)
    assert low < light.min().item() < light.max().item() < high
    assert light.max().item() - light.min().item() > 0.6 * (high - low)


def test_the_second_step_of_gray_then_colour_teaches_the_first_nothing() -> None:
    model = GrayThenColor(MODELS["gray-then-colour"])
    faded = model.forward({"source": to_network(noise(0, 2)), "target": to_network(noise(1, 2))})
    model.generator_losses(faded)["l1_target"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.to_target.fading.parameters())
    assert any(p.grad is not None for p in model.to_target.coloring.parameters())
    wanted = rgb_to_lab(noise(1, 2))[..., 0] / 50 - 1
    assert np.abs(faded.grey.real[:, 0].numpy() - wanted).max() < 1e-4


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
    net = NeuralStandardizer.from_snapshot(path).generator
    measured = Colorizer(MODELS["ab-hint"])
    measured.measure(source, target)
    for name, buffer in measured.named_buffers():
        if "chroma" in name or name == "curve":
            assert torch.equal(buffer, dict(net.named_buffers())[name])
    with pytest.raises(ModelError, match="to_source"):
        NeuralStandardizer.from_snapshot(path, "to_source")


def test_the_paper_s_preset_is_the_reference_colorization() -> None:
    paper = PRESETS["paper-colorization"]
    assert isinstance(paper.model, ColorizationConfig)
    assert paper.model.backbone == UnetConfig(channels=64, levels=8, norm="batch", dropout=True)
    assert (paper.model.output, paper.model.l1_weight, paper.model.hint_px) == ("ab", 100.0, None)
    assert (paper.model.judge.channels, paper.model.judge.layers) == (64, 3)
    assert (paper.load_px, paper.crop_px, paper.batch_size, paper.learning_rate) == (286, 256, 1, 2e-4)
    assert (paper.constant_epochs, paper.decay_epochs, paper.optimizer.beta1) == (100, 100, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs", "bar"), [("ab", 4, 1 / 3), ("gray-then-colour", 5, 1 / 2)])
def test_colour_learnt_from_target_images_alone_brings_another_hospital_nearer(
    name: str, epochs: int, bar: float, tmp_path: Path
) -> None:
    """After some 3000 images the colour difference to the truth is a share of what it was.

    The grey must be learnt too, so gray-then-colour is given more images and a lower bar.
    """
    classes = ("neutrophil", "eosinophil", "lymphocyte")
    shown, held = list_cells(classes, 20, 1), list_cells(classes, 8, 0)
    target, source = (
        np.stack([render(cell, HOSPITALS[site], 40) for cell in some])
        for site, some in (("clinic-like", shown), ("yellow-field", held))
    )
    truth = rgb_to_lab(np.stack([render(cell, HOSPITALS["clinic-like"], 40, noise=False) for cell in held]))
    backbone = ResnetUnetConfig(channels=8, blocks=(1, 1))
    judge = PatchDiscriminatorConfig(channels=8, layers=1)
    config = TranslatorConfig(
        model=ColorizationConfig(backbone=backbone, judge=judge)
        if name == "ab"
        else GrayThenColorConfig(fading=backbone, coloring=backbone, judge=judge),
        load_px=40,
        crop_px=32,
        batch_size=8,
        learning_rate=1e-3,
        epoch_images=800,
        constant_epochs=epochs - 2,
        decay_epochs=2,
        stepping="corrected",
        average_half_life_images=200,
    )
    train.train_translator(config, cells(source, "s"), cells(target, "t"), tmp_path, cpu(), seed=0)
    restained = NeuralStandardizer.from_snapshot(list_snapshots(tmp_path)[-1].path).standardize(source)

    def difference(images: np.ndarray) -> float:
        return float(delta_e_2000(rgb_to_lab(images), truth).mean())

    assert difference(restained) < bar * difference(source)
