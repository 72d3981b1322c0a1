import itertools

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy import cpu

from hemabridge.losses.formulas import least_squares
from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
from hemabridge.networks.patch_projection import features
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.schedules import Constant
from hemabridge.translators.batches import UnpairedBatches
from hemabridge.translators.contrastive import Contrasted, Contrastive
from hemabridge.translators.objective_config import ContrastiveConfig
from hemabridge.translators.presets import PRESETS

SMALL = ContrastiveConfig(
    generator=ResnetGeneratorConfig(channels=4, blocks=1),
    discriminator=PatchDiscriminatorConfig(channels=4, layers=1),
    layers=("pixels", "down-1", "block-1"),
    projection_width=32,
    patches=16,
)
FAST = SMALL.model_copy(update={"contrast_weight": 10.0, "identity": False, "flip_equivariance": True})


def small(config: ContrastiveConfig = SMALL) -> Contrastive:
    torch.manual_seed(0)
    return Contrastive(config)


def engine_of(model: Contrastive, rate: float = 1e-3) -> Engine:
    return Engine(cpu(), model, OptimizerConfig(beta1=0.5), dict.fromkeys(model.nets, Constant(rate)))


def batch(seed: int = 0, images: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(images, 3, 16, 16, generator=generator) * 2 - 1 for name in ("source", "target")}


def contrast_in_numpy(model: Contrastive, originals: torch.Tensor, translated: torch.Tensor) -> float:
    """Eq. 4 of the paper over all places, in double precision, with nothing of ours but weights and feature maps."""

    def vectors(head: torch.nn.Module, feature: torch.Tensor) -> np.ndarray:
        one, _, two = head  # type: ignore[misc]
        w1, b1, w2, b2 = (p.detach().double().numpy() for p in (one.weight, one.bias, two.weight, two.bias))
        x = feature.detach().double().numpy()[0].reshape(feature.shape[1], -1).T
        x = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    losses = []
    pairs = zip(*(features(model.to_target, model.layers, x) for x in (translated, originals)), strict=True)
    for head, (after, before) in zip(model.projection.heads, pairs, strict=True):
        logits = vectors(head, after) @ vectors(head, before).T / 0.07
        losses.append(np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)))
    return float(np.mean(losses))


@pytest.mark.parametrize(("weight", "identity"), [(1.0, True), (10.0, False)], ids=["cut", "fastcut"])
def test_generator_losses_against_numpy(weight: float, identity: bool) -> None:
    model = small(SMALL.model_copy(update={"patches": 10**6, "contrast_weight": weight, "identity": identity}))
    images = model.forward(batch())
    terms = {name: term.item() for name, term in model.generator_losses(images).items()}
    expected = {
        "adversarial_target": ((model.discriminator_target(images.fake_target) - 1) ** 2).mean().item(),
        "contrast_source": weight
        * (0.5 if identity else 1.0)
        * contrast_in_numpy(model, images.source, images.fake_target),
    }
    if identity:
        assert images.same_target is not None
        expected["contrast_target"] = 0.5 * weight * contrast_in_numpy(model, images.target, images.same_target)
    assert terms == pytest.approx(expected, rel=1e-4)


def test_discriminator_losses_by_hand() -> None:
    model = small()
    model.discriminator_target = torch.nn.Identity()  # type: ignore[assignment]
    flat = {name: torch.full((1, 3, 4, 4), number) for name, number in {"real": 0.2, "fake": 0.6}.items()}
    images = Contrasted(flat["fake"], flat["real"], flat["fake"], None, mirrored=False)
    assert model.discriminator_losses(images)["discriminator_target"].item() == pytest.approx(0.5 * (0.8**2 + 0.6**2))


def test_the_judge_steps_first_and_sees_the_fake_that_the_generator_then_answers_for() -> None:
    model, images = small(), batch()
    engine = engine_of(model, 1e-2)
    with torch.no_grad():
        fake = model.to_target(images["source"])
        first = 0.5 * (
            least_squares(model.discriminator_target(images["target"]), real=True)
            + least_squares(model.discriminator_target(fake), real=False)
        )
    numbers = engine.step(images, 0)
    assert next(iter(numbers)) == "discriminator_target"
    assert numbers["discriminator_target"] == pytest.approx(first.item(), rel=1e-5)
    with torch.no_grad():
        told = least_squares(model.discriminator_target(fake), real=True).item()
        moved = (model.to_target(images["source"]) - fake).abs().max().item()
    assert numbers["adversarial_target"] == pytest.approx(told, rel=1e-5)
    assert moved > 1e-4


def test_generator_and_projection_learn_together_and_the_judge_stays_out() -> None:
    model = small()
    engine = engine_of(model)
    model.phases = model.phases[1:]
    engine.step(batch(), 0)
    assert all(p.grad is None for p in model.discriminator_target.parameters())
    for net in (model.to_target, model.projection):
        assert all(p.grad is not None for p in net.parameters())


def test_the_translation_of_a_mirrored_image_is_compared_with_the_image_itself() -> None:
    config = FAST.model_copy(update={"layers": ("pixels",), "patches": 10**6})
    model, image = small(config), batch()["source"]
    straight = model.generator_losses(Contrasted(image, image, image, None, mirrored=False))
    mirrored = model.generator_losses(Contrasted(image, image, image.flip(3), None, mirrored=True))
    wrong = model.generator_losses(Contrasted(image, image, image.flip(3), None, mirrored=False))
    assert mirrored["contrast_source"].item() == pytest.approx(straight["contrast_source"].item(), rel=1e-5)
    assert wrong["contrast_source"].item() > 1.05 * straight["contrast_source"].item()


def test_half_of_the_steps_of_fastcut_are_mirrored_and_none_of_cut() -> None:
    model, images = small(FAST), batch()
    torch.manual_seed(0)
    with torch.no_grad():
        steps = [model.forward(images) for _ in range(60)]
        mirrored = [step for step in steps if step.mirrored]
        assert 18 <= len(mirrored) <= 42  # a binomial of 60 tosses stays within 3 standard deviations
        assert torch.equal(mirrored[0].fake_target, model.to_target(images["source"].flip(3)))
        assert not any(small().forward(images).mirrored for _ in range(10))


def test_targets_are_translated_only_where_identity_asks_for_it() -> None:
    images = batch()
    with torch.no_grad():
        assert small(FAST).forward(images).same_target is None
        model = small()
        same = model.forward(images).same_target
        assert same is not None
        assert torch.equal(same, model.to_target(images["target"]))


def test_the_whole_projection_exists_before_the_first_step() -> None:
    model = small()
    before = {name: tuple(p.shape) for name, p in model.projection.named_parameters()}
    engine_of(model).step(batch(), 0)
    assert {name: tuple(p.shape) for name, p in model.projection.named_parameters()} == before
    assert before["heads.0.0.weight"] == (32, 3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"layers": ("pixels", "block-2")},
            "expected layers up to block-1, the last block of the generator, got block-2",
        ),
        ({"layers": ("pixels", "pixels")}, "expected each once, got pixels more than once"),
        ({"layers": ("down-3",)}, "pattern"),
        ({"layers": ()}, "at least 1 item"),
        ({"temperature": 0}, "greater than 0"),
    ],
    ids=["block", "twice", "unknown", "none", "temperature"],
)
def test_a_configuration_that_cannot_be_built_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ContrastiveConfig.model_validate({**SMALL.model_dump(), **changes})


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_three_seeded_steps_give_the_losses_that_they_always_gave(name: str) -> None:
    """A refactor must not change these; a change that is meant to does so in this file, in the same commit."""
    model = small({"cut": SMALL, "fastcut": FAST}[name])
    engine = engine_of(model, 2e-4)
    rng = np.random.default_rng(0)
    sites = [rng.integers(0, 256, (5, 20, 20, 3), dtype=np.uint8) for _ in range(2)]
    steps = itertools.islice(UnpairedBatches(*sites, crop_px=16, batch_size=1, seed=0)(0), 3)
    totals = []
    for number, images in enumerate(steps):
        torch.manual_seed(number)
        totals.append(sum(engine.step(images, number).values()))
    assert totals == pytest.approx(GOLDEN[name], rel=1e-4)


@pytest.mark.parametrize("name", ["paper-cut", "paper-fastcut"])
def test_the_papers_presets_are_the_reference_recipe(name: str) -> None:
    paper = PRESETS[name].config
    model = paper.model
    assert isinstance(model, ContrastiveConfig)
    assert (paper.load_px, paper.crop_px, paper.batch_size, paper.learning_rate) == (286, 256, 1, 2e-4)
    assert (paper.optimizer.beta1, paper.optimizer.beta2, paper.optimizer.weight_decay) == (0.5, 0.999, 0.0)
    assert (paper.stepping, paper.average_half_life_images, paper.epoch_images) == ("corrected", None, None)
    assert (model.generator.channels, model.generator.blocks) == (64, 9)
    assert (model.generator.downsampling, model.generator.upsampling) == ("blurred", "bilinear")
    assert (model.discriminator.channels, model.discriminator.layers, model.discriminator.downsampling) == (
        64,
        3,
        "blurred",
    )
    assert model.layers == ("pixels", "down-1", "down-2", "block-1", "block-5")
    assert (model.projection_width, model.patches, model.temperature) == (256, 256, 0.07)
    special = (model.contrast_weight, model.identity, model.flip_equivariance)
    epochs = (paper.constant_epochs, paper.decay_epochs)
    assert (special, epochs) == {
        "paper-cut": ((1.0, True, False), (200, 200)),
        "paper-fastcut": ((10.0, False, True), (150, 50)),
    }[name]


GOLDEN = {"cut": [7.547045, 4.497962, 4.231622], "fastcut": [59.23246, 31.99368, 29.48939]}
