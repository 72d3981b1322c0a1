"""What is delivered is what was scored: a photograph is re-stained by its cell's square, whatever it shows around."""

import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import ImageError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import CropSpec, crop_center
from hemabridge.imaging.standardizer import TILE_PIXELS, Standardizer, UInt8Image, UInt8Images, sparse
from hemabridge.models import open_model
from hemabridge.networks.config import (
    BilateralGridConfig,
    ColorLutConfig,
    PixelNetworkConfig,
    ResnetGeneratorConfig,
    UnetConfig,
)
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells, normalizer_from_json
from hemabridge.normalizers.image_sets import MAX_WHOLE_PIXELS
from hemabridge.normalizers.normalizer import NO_GLASS, CellScale, Normalizer
from hemabridge.normalizers.reinhard import ReinhardSite
from hemabridge.normalizers.square import SquareStandardizer
from hemabridge.translators.catalog import MODELS, new_restainer
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.objective_config import (
    ColorizationConfig,
    ContrastiveConfig,
    CycleGanConfig,
    DistillationConfig,
    GrayThenColorConfig,
    ModelConfig,
    TargetOnlyConfig,
)
from hemabridge.workflows.fit import fit
from hemabridge.workflows.standardize.standardize import standardize

CROP_PX, SIZE_PX = 40, 32
FRAMES = (1.0, 1.2, 1.5, 2.0, 2.5)
SMALL_UNET = UnetConfig(channels=4, levels=3)

NETWORKS: dict[str, ModelConfig] = {
    "cyclegan": CycleGanConfig(generator=ResnetGeneratorConfig(channels=4, blocks=2)),
    "film": CycleGanConfig(generator=PixelNetworkConfig(conditioned=True)),
    "color table": CycleGanConfig(generator=ColorLutConfig(points=5)),
    "bilateral grid": CycleGanConfig(generator=BilateralGridConfig()),
    "contrastive": ContrastiveConfig(generator=ResnetGeneratorConfig(channels=4, blocks=6)),
    "colorization": ColorizationConfig(backbone=SMALL_UNET),
    "gray-then-color": GrayThenColorConfig(fading=SMALL_UNET, coloring=SMALL_UNET),
    "target-only": TargetOnlyConfig(),
    "distillation": DistillationConfig(),
}


def network(config: ModelConfig) -> Standardizer:
    """Return a network whose weights were moved by chance, as training might leave it."""
    torch.manual_seed(3)
    net = new_restainer(config)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return NeuralStandardizer(net)


@cache
def _simulated(hospital: str, seed: int, size_px: int, count: int) -> UInt8Images:
    return simulate_cells(("neutrophil", "monocyte"), count, HOSPITALS[hospital], seed, size_px)[0]


def cells(hospital: str, seed: int, size_px: int = SIZE_PX, count: int = 6) -> UInt8Images:
    return _simulated(hospital, seed, size_px, count).copy()


@cache
def normalizer(name: str) -> Normalizer:
    return fit_on_cells(name, cells("yellow-field", 1), cells("clinic-like", 2))


def by_subdomain(name: str) -> Normalizer:
    source, target = cells("yellow-field", 1), cells("clinic-like", 2)
    return BySubdomain.of([(source, normalizer(name))] * 2, target)


STANDARDIZERS: dict[str, Callable[[], Standardizer]] = {
    **{name: lambda name=name: normalizer(name) for name in NORMALIZERS},
    "by subdomain": lambda: by_subdomain("macenko"),
    "by subdomain, of compartments": lambda: by_subdomain("reinhard-compartment"),
    **{name: lambda config=config: network(config) for name, config in NETWORKS.items()},
}


@pytest.fixture(scope="module")
def photograph() -> UInt8Image:
    """A cell of 40 px in a photograph of 100 px, with darker and brighter surroundings than the cell's square has."""
    image = cells("yellow-field", 5, 100, 1)[0].copy()
    image[:25] = image[:25] // 3
    image[-20:] = 250
    return image


def test_every_model_of_the_catalog_is_tried() -> None:
    assert {config.kind for config in NETWORKS.values()} == set(MODELS)


@pytest.mark.parametrize("name", STANDARDIZERS)
def test_a_pixel_becomes_the_same_however_much_is_shown_around_it(name: str, photograph: UInt8Image) -> None:
    model = SquareStandardizer(STANDARDIZERS[name](), CropSpec(CROP_PX, SIZE_PX))
    whole = model.standardize(photograph[None])[0]
    assert np.abs(whole.astype(int) - photograph).mean() > 1
    for frame in FRAMES:
        side = round(frame * CROP_PX)
        alone = model.standardize(crop_center(photograph, side)[None])[0]
        np.testing.assert_allclose(alone.astype(int), crop_center(whole, side), atol=3, err_msg=f"frame {frame}")


@pytest.mark.parametrize("name", STANDARDIZERS)
def test_the_square_is_delivered_as_it_was_scored(name: str, photograph: UInt8Image) -> None:
    standardizer = STANDARDIZERS[name]()
    model = SquareStandardizer(standardizer, CropSpec(CROP_PX, CROP_PX))
    square = crop_center(photograph, CROP_PX)[None]
    delivered = model.standardize(photograph[None])[0]
    # A pixel's sums may be in another order in a larger picture.
    np.testing.assert_allclose(crop_center(delivered, CROP_PX), standardizer.standardize(square)[0], atol=1)


@pytest.mark.parametrize("shape", [(30, 60), (60, 30), (31, 33), (41, 40), (90, 45)])
def test_a_photograph_that_is_smaller_than_the_square_is_only_what_it_shows(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    standardizer = network(NETWORKS["cyclegan"])
    out = SquareStandardizer(standardizer, CropSpec(CROP_PX, CROP_PX)).standardize(image[None])[0]
    assert out.shape == image.shape
    square = crop_center(image, CROP_PX)
    shown = min(shape[0], CROP_PX), min(shape[1], CROP_PX)
    first = [(CROP_PX - side) // 2 + (CROP_PX - side) % 2 for side in shown]
    wanted = standardizer.standardize(square[None])[0][first[0] : first[0] + shown[0], first[1] : first[1] + shown[1]]
    top, left = (max(0, (side - CROP_PX) // 2) for side in shape)
    np.testing.assert_array_equal(out[top : top + shown[0], left : left + shown[1]], wanted)


def test_the_surroundings_of_a_network_get_the_colors_of_its_square(photograph: UInt8Image) -> None:
    class Bluer:
        def standardize(self, images: UInt8Images) -> UInt8Images:
            return np.clip(images * np.array([0.7, 0.9, 1.0]) + np.array([0, 0, 20]), 0, 255).astype(np.uint8)

    image = photograph[30:75]  # what the square shows, all over
    image = np.concatenate([image, image])
    out = SquareStandardizer(Bluer(), CropSpec(CROP_PX, SIZE_PX)).standardize(image[None])[0]
    assert np.abs(out.astype(int) - Bluer().standardize(image[None])[0]).mean() < 3


def test_a_whole_picture_that_is_the_cell_is_measured_as_a_whole() -> None:
    images = cells("yellow-field", 3, 45, 1)
    model = SquareStandardizer(network(NETWORKS["film"]), CropSpec("whole", SIZE_PX))
    assert model.standardize(images).shape == images.shape
    compartments = SquareStandardizer(normalizer("reinhard-compartment"), CropSpec("whole", 45))
    scored = normalizer("reinhard-compartment").standardize(images)
    np.testing.assert_array_equal(compartments.standardize(images), scored)


def test_a_large_whole_picture_has_no_seams() -> None:
    image = np.tile(cells("yellow-field", 3, 45, 1)[0], (40, 20, 1))  # more than is worked on at once
    model = SquareStandardizer(network(NETWORKS["cyclegan"]), CropSpec("whole", SIZE_PX))
    square = CropSpec("whole", SIZE_PX).cut(image)
    change = network(NETWORKS["cyclegan"]).standardize(square[None])[0].astype(np.float32) - square
    bands = [Image.fromarray(change[:, :, band]).resize((900, 1800), Image.Resampling.BICUBIC) for band in range(3)]
    wanted = np.clip(image + np.stack([np.asarray(band) for band in bands], axis=2), 0, 255)
    assert image.shape[0] * image.shape[1] > 2 * TILE_PIXELS
    np.testing.assert_allclose(model.standardize(image[None])[0], wanted, atol=0.6)


def memory_of(standardizer: Standardizer, height: int) -> int:
    """Return the bytes that re-staining a photograph of `height` x 1,000 takes beside the result."""
    photograph = np.tile(cells("yellow-field", 5, 100, 1)[0], (height // 100, 10, 1))[None]
    standardizer.standardize(photograph[:, :100, :100])
    tracemalloc.start()
    try:
        out = standardizer.standardize(photograph)
        return tracemalloc.get_traced_memory()[1] - out.nbytes
    finally:
        tracemalloc.stop()


SLOWER = ("contrastive", "colorization", "gray-then-color", "distillation", "bilateral grid", "by subdomain")
"""What takes its memory as others of the fast tests do."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOWER)) for name in STANDARDIZERS]
)
def test_the_memory_does_not_grow_with_the_photograph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = 100_000
    for place in ("imaging.standardizer", "normalizers.square"):
        monkeypatch.setattr(f"hemabridge.{place}.TILE_PIXELS", tile)
    model = SquareStandardizer(STANDARDIZERS[name](), CropSpec(CROP_PX, SIZE_PX))
    small, large = 200 * 1000, 400 * 1000
    assert small > tile
    taken = memory_of(model, large // 1000) - memory_of(model, small // 1000)
    # One further image of bytes may be held, and no map of numbers of 32 or 64 bits.
    assert taken <= 1.2 * 3 * (large - small)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_large_picture_without_a_known_square_takes_bounded_memory_or_is_refused(name: str) -> None:
    own = normalizer(name)
    image = np.tile(cells("yellow-field", 5, 100, 1)[0], (24, 18, 1))
    assert image.shape[0] * image.shape[1] > MAX_WHOLE_PIXELS
    if not own.is_pointwise:
        with pytest.raises(ImageError, match=r"expected at most 4,000,000 pixels .*got 1800 x 2400; state the square"):
            own.standardize(image[None])
        return
    tracemalloc.start()
    own.measure(sparse(image))
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 200e6
    found, wanted = own.standardize(image[None])[0], own.standardize(image[None, :500, :500])[0]
    np.testing.assert_allclose(found[:500, :500].astype(int), wanted, atol=6)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_fitted_normalizer_knows_its_square(name: str, tmp_path: Path) -> None:
    for hospital, seed in (("yellow-field", 1), ("clinic-like", 2)):
        for place, image in enumerate(cells(hospital, seed, 64)):
            write_image(tmp_path / hospital / f"{place}.png", image)
    path = tmp_path / "model.json"
    fit(name, tmp_path / "yellow-field", tmp_path / "clinic-like", path, source_crop_px=40, target_crop_px=50)
    model = open_model(path)
    assert (model.crop(), model.crop("target")) == (CropSpec(40, 96), CropSpec(50, 96))
    assert open_model(path, crop_px=30).crop() == CropSpec(30, 96)
    image = cells("yellow-field", 7, 100, 1)[0]
    image[:, :30] //= 4
    whole = model.standardize(image[None])[0]
    np.testing.assert_array_equal(
        whole, normalizer_from_json(path.read_text(encoding="utf-8")).standardize(image[None])[0]
    )
    square = model.standardize(crop_center(image, 40)[None])[0]
    np.testing.assert_allclose(square.astype(int), crop_center(whole, 40), atol=3)


@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name != "reinhard-site"])
def test_a_white_that_the_picture_does_not_show_is_the_sites(name: str) -> None:
    fitted = normalizer(name)
    cell = cells("yellow-field", 9, 96, 1)[0]
    tight = crop_center(cell, 24)  # nucleus and cytoplasm
    away = np.abs(fitted.standardize(tight[None])[0].astype(int) - crop_center(fitted.standardize(cell[None])[0], 24))
    if name in ("reinhard-image", "reinhard-compartment"):
        # Both look at more than the white; see the remark.
        assert np.median(fitted.standardize(tight[None])) - np.median(tight) < 30
    else:
        assert np.median(away) <= 3
    assert fitted.remark(tight) == NO_GLASS
    assert fitted.remark(cell) == ""


def test_a_row_says_that_the_white_could_not_be_measured(tmp_path: Path) -> None:
    cell = cells("yellow-field", 9, 96, 1)[0]
    write_image(tmp_path / "in" / "full.png", cell)
    write_image(tmp_path / "in" / "tight.png", crop_center(cell, 24))
    path = tmp_path / "model.json"
    path.write_text(normalizer("white-point").to_json(), encoding="utf-8")
    done = standardize(path, tmp_path / "in", tmp_path / "out")
    assert {row.path: row.remark for row in done.rows} == {"full.png": "", "tight.png": NO_GLASS}


def test_a_picture_of_a_part_of_the_square_is_mapped_as_its_site_and_told(tmp_path: Path) -> None:
    cell = cells("yellow-field", 9, 96, 1)[0]
    square = CellScale(source_crop_px=64, target_crop_px=64, size_px=64)
    site = normalizer("reinhard-image").of_photographs(square)
    path = tmp_path / "model.json"
    path.write_text(site.to_json(), encoding="utf-8")
    opened = open_model(path).standardizer()
    cell[:4] = cell[-4:] = 250  # glass is in every picture; the share of the cell is what differs
    tight = crop_center(cell, 40).copy()
    tight[:4] = 250
    assert opened.remark(tight) == "the picture shows less than half of the square of 64 pixels around a cell"
    assert "half" not in opened.remark(crop_center(cell, 64))
    both = np.concatenate([crop_center(cell, 24), np.full((16, 24, 3), 250, np.uint8)])
    for part in (tight, both):  # the same colors become the same ones, whatever else is in the picture
        for standardizer in (opened, site):
            made = standardizer.standardize(part[None])[0]
            flat = ReinhardSite(source=site.source, target=site.target).standardize(part[None])[0]
            np.testing.assert_array_equal(made, flat)
            both_at_once = standardizer.restained(part)  # as `hemabridge standardize` does
            np.testing.assert_array_equal(both_at_once[0], flat)
            assert both_at_once[1].startswith("the picture shows less than half of the square")


def test_the_scale_is_kept_as_json() -> None:
    cells_cut = CellScale(source_crop_px="whole", target_crop_px=70, size_px=32)
    fitted = normalizer("macenko").of_photographs(cells_cut)
    assert type(fitted).from_json(fitted.to_json()).cells == cells_cut
