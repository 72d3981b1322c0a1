from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import cpu

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.domain.site_profile import Distance
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.training.snapshots import read_snapshot
from hemabridge.translators.appearance_descriptor import (
    DESCRIPTOR_SIZE,
    QUANTILES,
    descriptors_of,
    distances_of,
    moments_of,
    monge_matrices,
    principal_axes,
)
from hemabridge.translators.batches import to_network
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.objective_config import TargetOnlyConfig
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.target_only import TargetOnly, restyle, visible_difference
from hemabridge.translators.target_only_net import SiteRestainer, site_descriptor
from hemabridge.translators.train import train_translator
from hemabridge.translators.unseen_site import distance_of, settle

SIZE_PX = 32
SMALL = TargetOnlyConfig(hospitals=40, hospital_images=4, step_hospitals=32, pixels=32, tuner_width=32)
QUICK = PRESETS["target-only"].config.model_copy(
    update={"model": SMALL, "load_px": SIZE_PX, "crop_px": SIZE_PX, "epoch_images": 10, "snapshot_every_epochs": 25}
)
Hospital = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def hospital() -> Hospital:
    """Cells of a hospital, uint8[12, 32, 32, 3]; the same cells for the same seed."""

    def cells(name: str, seed: int, *, noise: bool = True) -> np.ndarray:
        classes = ("neutrophil", "eosinophil", "lymphocyte")
        return simulate_cells(classes, 4, HOSPITALS[name], seed, SIZE_PX, noise=noise)[0]

    return cells


def cell_set(images: np.ndarray) -> CellSet:
    names = tuple(f"{number:064x}" for number in range(len(images)))
    return CellSet(images, np.zeros(len(images), np.int64), ("any",), names, names, SIZE_PX)


@pytest.fixture(scope="module")
def snapshot(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of few steps, whose recipe names the pale hospital as its source."""
    folder = tmp_path_factory.mktemp("run")
    sites = (cell_set(hospital(name, seed)) for name, seed in (("pale", 2), (TARGET, 1)))
    return train_translator(QUICK, *sites, folder, cpu(), seed=0)[-1].path


def standardizer_for(snapshot: Path, images: UInt8Images | None) -> NeuralStandardizer:
    standardizer = open_model(snapshot).cell_standardizer()
    settle(standardizer, images, snapshot)
    return standardizer


def small() -> TargetOnly:
    torch.manual_seed(0)
    return TargetOnly(SMALL)


@pytest.mark.parametrize("name", ["yellow-field", "overstained"])
def test_a_site_never_seen_comes_nearer_to_the_truth(name: str, hospital: Hospital, snapshot: Path) -> None:
    truth = rgb_to_lab(hospital(TARGET, 9, noise=False))
    originals = hospital(name, 9)
    restained = standardizer_for(snapshot, hospital(name, 2)).standardize(originals)
    before = delta_e_2000(rgb_to_lab(originals), truth).mean()
    assert delta_e_2000(rgb_to_lab(restained), truth).mean() < 0.5 * before


def test_the_snapshot_restains_the_source_of_its_recipe(hospital: Hospital, snapshot: Path) -> None:
    images = hospital("pale", 2)
    kept = read_snapshot(snapshot)[0]
    torch.testing.assert_close(kept["to_target/site_descriptor"], site_descriptor(images))
    assert kept["to_target/settled"].item() == 1.0


def test_a_site_of_the_family_is_known_and_an_inverted_one_is_not(hospital: Hospital, snapshot: Path) -> None:
    standardizer = open_model(snapshot).cell_standardizer()
    assert distance_of(standardizer, hospital(TARGET, 5), snapshot).answer == "in-distribution"
    assert distance_of(standardizer, 255 - hospital("pale", 5), snapshot).answer == "out-of-distribution"


@pytest.mark.parametrize(
    ("value", "answer"),
    [(1.0, "in-distribution"), (1.5, "borderline"), (2.0, "borderline"), (2.1, "out-of-distribution")],
)
def test_the_answer_lies_between_thresholds(value: float, answer: str) -> None:
    assert Distance(value, in_distribution_max=1.2, borderline_max=2.0).answer == answer


def test_each_image_for_itself_does_not_depend_on_its_neighbors(hospital: Hospital, snapshot: Path) -> None:
    images = hospital("yellow-field", 5)
    alone = standardizer_for(snapshot, None)
    assert np.array_equal(alone.standardize(images)[3:4], alone.standardize(images[3:4]))
    settled = standardizer_for(snapshot, images)
    assert not np.array_equal(alone.standardize(images[3:4]), settled.standardize(images[3:4]))


def test_a_settled_site_gives_each_color_one_color_wherever_it_stands(hospital: Hospital, snapshot: Path) -> None:
    images = hospital("yellow-field", 5)
    standardizer = standardizer_for(snapshot, images)
    order = np.random.default_rng(0).permutation(SIZE_PX * SIZE_PX)
    shuffled = images.reshape(len(images), -1, 3)[:, order].reshape(images.shape)
    out = standardizer.standardize(images).reshape(len(images), -1, 3)[:, order].reshape(images.shape)
    assert np.abs(standardizer.standardize(shuffled).astype(int) - out).max() <= 1


def test_what_no_site_is_is_refused(snapshot: Path) -> None:
    with pytest.raises(InputError, match="images of the site"):
        standardizer_for(snapshot, np.empty((0, 8, 8, 3), np.uint8))
    with pytest.raises(ModelError, match="measure_sites before training"):
        small().forward({"target": torch.zeros(1, 3, 8, 8)})


def test_a_snapshot_of_another_model_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    config = PRESETS["cyclegan-demo"].config.model_dump(mode="json")
    nets = {"channels": 4, "layers": 1}
    config |= {"load_px": 32, "crop_px": 32, "epoch_images": 1, "constant_epochs": 1, "decay_epochs": 0}
    config["model"] |= {
        "generator": {"kind": "resnet", "channels": 4, "blocks": 1},
        "discriminator": {"kind": "patch", **nets},
    }
    site = cell_set(hospital(TARGET, 1)[:2])
    other = train_translator(TranslatorConfig.model_validate(config), site, site, tmp_path, cpu(), seed=0)[-1]
    with pytest.raises(ModelError, match="target-only translator, got that of another"):
        standardizer_for(other.path, site.images)


def test_looks_against_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)  # thumbnails are as large
    descriptors = descriptors_of(to_network(images)).double().numpy()
    assert descriptors.shape == (2, DESCRIPTOR_SIZE)
    for descriptor, image in zip(descriptors, images, strict=True):
        colors = image.reshape(-1, 3) / 127.5 - 1.0
        brightness = np.quantile(colors.sum(axis=1) / np.sqrt(3.0), QUANTILES)
        assert descriptor[:3] == pytest.approx(colors.mean(axis=0), abs=1e-5)
        assert descriptor[3:12] == pytest.approx((colors.T @ colors / 1024).ravel(), abs=1e-5)
        assert descriptor[-len(QUANTILES) :] == pytest.approx(brightness, abs=5e-3)
    mean, covariance = moments_of(torch.from_numpy(descriptors))
    assert covariance[1].numpy() == pytest.approx(np.cov(images[1].reshape(-1, 3).T / 127.5, bias=True), abs=1e-5)
    assert mean[1].numpy() == pytest.approx(descriptors[1, :3])


def test_monge_matrices_make_one_covariance_the_other_and_are_symmetric() -> None:
    rng = np.random.default_rng(0)
    source, target = (np.cov(rng.normal(size=(3, 50))) for _ in range(2))
    matrix = monge_matrices(torch.from_numpy(source)[None], torch.from_numpy(target))[0].numpy()
    assert matrix == pytest.approx(matrix.T)
    assert matrix @ source @ matrix.T == pytest.approx(target, abs=2e-3)


def test_distances_are_one_on_average_over_what_was_learned_and_grow_off_the_axes() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(200, 3, generator=generator) @ torch.randn(3, DESCRIPTOR_SIZE, generator=generator)
    seen = seen + 0.1 * torch.randn(200, DESCRIPTOR_SIZE, generator=generator)
    learned = principal_axes(seen)
    assert distances_of(seen, *learned).square().mean().item() == pytest.approx(1.0, abs=0.01)
    assert distances_of(learned[0][None], *learned).item() == pytest.approx(0.0, abs=1e-5)
    axes = learned[1]
    off = torch.randn(DESCRIPTOR_SIZE, generator=generator)
    off = off - axes @ (axes.T @ off)
    assert distances_of((learned[0] + off)[None], *learned).item() > 2.0


def test_two_looks_give_finite_distances() -> None:
    learned = principal_axes(torch.stack([torch.zeros(DESCRIPTOR_SIZE), torch.ones(DESCRIPTOR_SIZE)]))
    assert distances_of(torch.ones(1, DESCRIPTOR_SIZE), *learned).isfinite().all()


def test_visible_difference_of_grays_is_that_of_lightness() -> None:
    gray, darker = torch.full((1, 3, 1, 1), 0.2), torch.full((1, 3, 1, 1), 0.1)
    steps = rgb_to_lab(np.array([[[153, 153, 153], [140, 140, 140]]], np.uint8))[0, :, 0]
    assert visible_difference(gray, darker).item() == pytest.approx((steps[0] - steps[1]) / 10, rel=0.03)
    assert visible_difference(gray, gray).item() == pytest.approx(0.1**0.5 / 10, rel=1e-4)


def test_a_new_model_is_the_linear_transport(hospital: Hospital) -> None:
    net = SiteRestainer(SMALL).eval()
    source, target = hospital("yellow-field", 2), hospital(TARGET, 1)
    net.learn_target(target)
    net.settle(source)
    with torch.no_grad():
        out = descriptors_of(net(to_network(source))).mean(dim=0)
    assert out[:3].numpy() == pytest.approx(site_descriptor(target)[:3].numpy(), abs=0.03)  # clipping moves it a little


def test_images_are_restyled_the_same_each_time_and_some_unchanged(hospital: Hospital) -> None:
    target = hospital(TARGET, 1)
    first, second = (restyle(target, SMALL.model_copy(update={"hospitals": 18})) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    unchanged = [
        np.array_equal(images, target[chosen]) for images, chosen in zip(first.images, first.originals, strict=True)
    ]
    assert [number for number, same in enumerate(unchanged) if same] == [0, 16]


def test_pixels_come_with_their_own_truth_and_held_out_hospitals_stay_out(hospital: Hospital) -> None:
    target = hospital(TARGET, 1)
    unchanged = restyle(target, SMALL.model_copy(update={"hospitals": 10}))
    model = TargetOnly(SMALL.model_copy(update={"hospitals": 10}))
    model.measure_sites(target, target)
    pool = model._pool
    assert pool is not None
    assert len(pool.colors) == 9
    held_out = {unchanged.images[number].tobytes() for number in (9,)}
    assert not held_out & {bytes(one.numpy().tobytes()) for one in pool.colors}
    colors, truth, descriptors = pool.draw(64, 16)
    assert (colors.shape, truth.shape, descriptors.shape) == ((64, 3, 16, 1), (64, 3, 16, 1), (64, DESCRIPTOR_SIZE))
    # Each truth is a color of the target: brightness orders pixels alike before and after the restyle.
    a, b = (t.mean(dim=1).flatten(1) for t in (colors, truth))
    together = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b, strict=True)])
    assert together.nanmedian() > 0.8


@pytest.mark.slow
def test_more_hospitals_bring_every_named_one_nearer(hospital: Hospital, tmp_path: Path) -> None:
    more = SMALL.model_copy(update={"hospitals": 120, "step_hospitals": 64})
    config = QUICK.model_copy(update={"model": more, "epoch_images": 20})
    sites = (cell_set(hospital(name, seed)) for name, seed in (("pale", 2), (TARGET, 1)))
    last = train_translator(config, *sites, tmp_path, cpu(), seed=0)[-1].path
    truth = rgb_to_lab(hospital(TARGET, 9, noise=False))
    left = {}
    for name in ("yellow-field", "blue-shifted", "pale", "overstained", "dark-blurred"):
        originals = hospital(name, 9)
        restained = standardizer_for(last, hospital(name, 2)).standardize(originals)
        after, before = (delta_e_2000(rgb_to_lab(images), truth).mean() for images in (restained, originals))
        left[name] = after / before
    assert max(left.values()) < 0.5, left
