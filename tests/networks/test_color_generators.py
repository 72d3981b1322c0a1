"""What every generator of colors keeps: it starts as the identity, moves nothing, and stays within its range."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from hemabridge.networks.catalog import GENERATORS, new_generator
from hemabridge.networks.color_generators import (
    CELLS,
    INNER,
    QUANTILES,
    BilateralGrid,
    ColorGenerator,
    ColorLut,
    PixelNetwork,
    shift_colors,
    slice_grid,
    thumbnail,
)
from hemabridge.networks.config import BilateralGridConfig, ColorLutConfig, GeneratorConfig, PixelNetworkConfig

CONFIGS: dict[str, GeneratorConfig] = {
    "pixel": PixelNetworkConfig(),
    "film": PixelNetworkConfig(conditioned=True),
    "lut": ColorLutConfig(points=5),
    "bilateral": BilateralGridConfig(),
}


@pytest.fixture(params=CONFIGS)
def generator(request: pytest.FixtureRequest) -> ColorGenerator:
    torch.manual_seed(0)
    made = new_generator(CONFIGS[request.param])
    assert isinstance(made, ColorGenerator)
    return made.eval()


@pytest.fixture
def trained(generator: ColorGenerator) -> ColorGenerator:
    """Every weight moved by chance, as training might leave it."""
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return generator.requires_grad_(False)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height + width)) * 2 - 1


def count(net: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def test_sizes_are_those_of_the_documents() -> None:
    assert count(new_generator(PixelNetworkConfig())) == 1283
    assert count(new_generator(PixelNetworkConfig(conditioned=True))) == 3811
    assert count(new_generator(BilateralGridConfig())) == 5657
    assert set(GENERATORS) == {"resnet", "pixel", "lut", "bilateral"}


def test_starts_as_the_identity_to_the_bit(generator: ColorGenerator) -> None:
    images = torch.cat([noise(2, 40, 24), torch.ones(1, 3, 40, 24), -torch.ones(1, 3, 40, 24)])
    assert torch.equal(generator(images), images)
    assert generator.penalty(generator.summarize(images)).item() == 0.0


def test_gradients_reach_every_weight_after_one_step(generator: ColorGenerator) -> None:
    """Layers that start at zero hold back those before them for one step only."""
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    images = noise(2, 20, 20)
    for _ in range(3):
        optimizer.zero_grad()
        (generator(images) + 0.5).square().mean().backward()
        optimizer.step()
    assert [name for name, weight in generator.named_parameters() if not bool(weight.grad.abs().sum() > 0)] == []


@pytest.mark.parametrize("size", [(40, 40), (33, 21), (5, 90), (1, 1)])
def test_keeps_any_size_and_its_range(trained: ColorGenerator, size: tuple[int, int]) -> None:
    images = noise(2, *size)
    out = trained(images)
    assert out.shape == images.shape
    assert bool((out.abs() <= 1).all())
    assert float((out - images).abs().mean()) > 0.02


def test_with_the_summary_kept_a_changed_pixel_changes_itself_alone(trained: ColorGenerator) -> None:
    before = noise(2, 24, 36)
    after = before.clone()
    after[1, :, 7, 11] = torch.tensor([0.9, -0.3, 0.1])
    summary = trained.summarize(before)
    changed = (trained.recolor(before, summary) != trained.recolor(after, summary)).any(dim=1)
    assert changed.nonzero().tolist() == [[1, 7, 11]]


def test_pixels_that_change_places_within_a_cell_of_the_thumbnail_leave_all_others_alone(
    trained: ColorGenerator,
) -> None:
    """The proof through the whole generator: a 64 px image has 2 x 2 pixels or more for each of the thumbnail."""
    before = noise(1, 64, 64).mul(128).round().div(128)  # sums of four are exact, in any order
    after = before.clone()
    after[0, :, 20, 30], after[0, :, 21, 31] = before[0, :, 21, 31], before[0, :, 20, 30]
    assert torch.equal(trained.summarize(before), trained.summarize(after))
    changed = (trained(before) != trained(after)).any(dim=1)
    assert changed.nonzero().tolist() == [[0, 20, 30], [0, 21, 31]]


@pytest.mark.parametrize("kind", ["pixel", "film", "lut"])
def test_without_a_grid_equal_colors_stay_equal_wherever_they_lie(kind: str) -> None:
    torch.manual_seed(0)
    generator = new_generator(CONFIGS[kind])
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        images = noise(1, 16, 16)
        images[0, :, 3, 4] = images[0, :, 12, 9]
        out = generator(images)
    torch.testing.assert_close(out[0, :, 3, 4], out[0, :, 12, 9], rtol=0, atol=1e-6)


def test_only_the_conditioned_network_sees_what_else_is_in_the_image() -> None:
    images = noise(1, 16, 16)
    darker = images.clone()
    darker[:, :, 8:] = -0.8
    for conditioned in (False, True):
        torch.manual_seed(0)
        network = PixelNetwork(PixelNetworkConfig(conditioned=conditioned))
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
            same = torch.allclose(network(images)[:, :, :8], network(darker)[:, :, :8], rtol=0, atol=1e-6)
        assert same is not conditioned


def test_the_summary_of_a_pixel_network_is_numpys_statistics_of_the_thumbnail() -> None:
    images = noise(2, 64, 96)
    summary = PixelNetwork(PixelNetworkConfig(conditioned=True)).summarize(images).numpy()
    colors = images.numpy().reshape(2, 3, 16, 4, 16, 6).mean(axis=(3, 5)).reshape(2, 3, -1)
    np.testing.assert_allclose(summary[:, :3], colors.mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(summary[:, 3:6], colors.std(axis=2), atol=1e-6)
    quantiles = np.quantile(colors, QUANTILES, axis=2, method="nearest").transpose(1, 2, 0).reshape(2, -1)
    np.testing.assert_allclose(summary[:, 6:], quantiles, atol=1e-6)


def test_the_summary_hardly_depends_on_the_size_of_the_picture() -> None:
    generator = PixelNetwork(PixelNetworkConfig(conditioned=True))
    small = noise(1, 32, 32)
    large = small.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    torch.testing.assert_close(thumbnail(large, 32), small, rtol=0, atol=1e-6)
    torch.testing.assert_close(generator.summarize(large), generator.summarize(small), rtol=0, atol=1e-5)


def test_shift_colors_is_a_shift_behind_a_hyperbolic_tangent() -> None:
    x, shift = torch.linspace(-1, 1, 41, dtype=torch.float64), torch.linspace(-3, 3, 41, dtype=torch.float64).flip(0)
    expected = (torch.tanh(torch.atanh(INNER * x) + shift) / INNER).clamp(-1, 1)
    torch.testing.assert_close(shift_colors(x, shift), expected, rtol=0, atol=1e-12)
    assert torch.equal(shift_colors(x, torch.zeros_like(x)), x)


def test_white_can_become_any_gray() -> None:
    white = torch.ones(200)
    reached = shift_colors(white, torch.linspace(-5, 0, 200))
    assert float(reached.min()) == -1.0
    assert float(reached.diff().max()) < 0.1


def test_a_table_is_read_as_scipy_reads_it() -> None:
    table = ColorLut(ColorLutConfig(tables=2, points=6))
    with torch.no_grad():
        table.shifts.copy_(torch.randn(2, 3, 6, 6, 6, generator=torch.Generator().manual_seed(1)) * 0.4)
        images = noise(2, 9, 14)
        summary = table.summarize(images)
        out = table.recolor(images, summary).numpy()
    levels = np.linspace(-1, 1, 6)
    for number, image in enumerate(images.numpy()):
        bgr = image[::-1].reshape(3, -1).T
        for channel in range(3):
            expected = RegularGridInterpolator((levels,) * 3, summary[number, channel].numpy())(bgr)
            np.testing.assert_allclose(out[number, channel].ravel(), expected, atol=2e-6)


def test_each_image_mixes_the_tables_for_itself() -> None:
    torch.manual_seed(0)
    table = ColorLut(ColorLutConfig(points=4))
    with torch.no_grad():
        table.shifts.normal_(0, 0.3)
        one, other = table.summarize(torch.cat([noise(1, 32, 32), torch.full((1, 3, 32, 32), 0.8)]))
        alone = ColorLut(ColorLutConfig(points=4, tables=1))
        alone.shifts.normal_(0, 0.3)
        alone.mix.weight.zero_()
        equal = alone.summarize(torch.cat([noise(1, 32, 32), torch.full((1, 3, 32, 32), 0.8)]))
    assert float((one - other).abs().max()) > 1e-3
    assert torch.equal(equal[0], equal[1])


def test_penalty_of_a_table_by_hand() -> None:
    """Two points a side; red falls from -1 to -1.5 along red in one of four lines; the rest is the identity."""
    table = ColorLut(ColorLutConfig(points=2, smoothness=1.0, monotonicity=10.0))
    summary = table.identity().unsqueeze(0).clone()
    summary[0, 0, 0, 0, 1] -= 2.5
    # Each of three axes has 12 steps (3 channels x 4 lines); the moved point ends one on each.
    smoothness = 3 * 2.5**2 / 12
    monotonicity = 0.5 / 4
    assert table.penalty(summary).item() == pytest.approx(smoothness + 10 * monotonicity)


def test_penalty_of_a_grid_by_hand() -> None:
    grid = torch.zeros(1, 12, 2, CELLS, CELLS)
    grid[0, 5, 1, 0, 0] = 3.0
    steps = (12 * CELLS * CELLS, 12 * 2 * (CELLS - 1) * CELLS, 12 * 2 * CELLS * (CELLS - 1))
    assert BilateralGrid(BilateralGridConfig(depth=2)).penalty(grid).item() == pytest.approx(
        sum(9.0 / number for number in steps)
    )


def test_a_grid_is_sliced_as_scipy_does() -> None:
    """Cells' centers at (i + 1/2) / n of each side; beyond the outermost the nearest value."""
    rng = np.random.default_rng(0)
    grid, guide = rng.normal(size=(2, 5, 8, 4, 6)), rng.uniform(-1, 1, (2, 11, 13))
    centers = [(np.arange(n) + 0.5) / n for n in (8, 4, 6)]
    rows, columns = (np.arange(11) + 0.5) / 11, (np.arange(13) + 0.5) / 13
    for number in range(2):
        places = np.stack([(guide[number] + 1) / 2, *np.meshgrid(rows, columns, indexing="ij")], axis=-1)
        inside = np.clip(places, [c[0] for c in centers], [c[-1] for c in centers])
        expected = RegularGridInterpolator(centers, grid[number].transpose(1, 2, 3, 0))(inside).transpose(2, 0, 1)
        found = slice_grid(torch.from_numpy(grid), torch.from_numpy(guide))[number].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_a_grid_recolors_by_the_matrix_of_each_pixel() -> None:
    """A grid of one matrix everywhere is that matrix for every pixel, whatever its guide and place."""
    network = BilateralGrid(BilateralGridConfig())
    matrix = torch.randn(3, 4, generator=torch.Generator().manual_seed(2)) * 0.2
    grid = matrix.reshape(1, 12, 1, 1, 1).expand(1, 12, 8, CELLS, CELLS)
    images = noise(1, 10, 12)
    with torch.no_grad():
        out = network.recolor(images, grid)
    shift = torch.einsum("ij,bjhw->bihw", matrix[:, :3], images) + matrix[:, 3].reshape(1, 3, 1, 1)
    torch.testing.assert_close(out, shift_colors(images, shift), rtol=0, atol=1e-6)


def test_a_grid_can_follow_light_that_varies_across_the_image() -> None:
    grid = torch.zeros(1, 12, 8, CELLS, CELLS)
    grid[:, 3::4, :, :, CELLS // 2 :] = 0.5  # brighter in the right half
    with torch.no_grad():
        out = BilateralGrid(BilateralGridConfig()).recolor(torch.zeros(1, 3, 16, 64), grid)
    assert torch.equal(out[..., :16], torch.zeros(1, 3, 16, 16))
    assert bool((out[..., 48:] > 0.4).all())
