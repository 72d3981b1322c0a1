"""Each formula against a second implementation, or numbers worked by hand."""

import json

import numpy as np
import pytest
from scipy import linalg
from skimage.exposure import match_histograms

from hemabridge.errors import ModelError
from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers import linear_transport, normalizer_from_json
from hemabridge.normalizers.color_table import NODES, fit_table
from hemabridge.normalizers.density_scaling import DensityScaling
from hemabridge.normalizers.histogram import matching_curve
from hemabridge.normalizers.linear_transport import monge_matrix
from hemabridge.normalizers.reinhard import LabStatistics, ReinhardImage, ReinhardSite, transferred
from hemabridge.normalizers.reinhard_compartment import ReinhardCompartment
from hemabridge.normalizers.sliced_transport import SlicedTransport, distribution_transfer
from hemabridge.normalizers.stain_separation import Macenko
from hemabridge.normalizers.stain_vectors import by_dye, completed, macenko_vectors, vahadane_vectors
from hemabridge.normalizers.white_point import WhitePoint

AZURE, EOSIN = np.array([0.8, 0.58, 0.15]), np.array([0.1, 0.95, 0.3])
DYES = np.stack([AZURE / np.linalg.norm(AZURE), EOSIN / np.linalg.norm(EOSIN)])


def field(color: tuple[int, int, int], middle: tuple[int, int, int]) -> UInt8Images:
    """An empty field 20 x 20 with a square of another color, one image."""
    images = np.full((1, 20, 20, 3), color, np.uint8)
    images[0, 8:12, 8:12] = middle
    return images


def test_white_point_multiplies_by_the_ratio_of_the_fields_up_to_two() -> None:
    normalizer = WhitePoint.fit(field((9, 9, 9), (9, 9, 9)), field((200, 220, 240), (9, 9, 9)))
    restained = normalizer.standardize(field((250, 200, 60), (100, 50, 30)))[0]
    assert restained[0, 0].tolist() == [200, 220, 120]
    assert restained[9, 9].tolist() == [80, 55, 60]


def test_density_scaling_is_beer_lamberts_law_with_the_least_squares_factor_of_the_quantiles(
    source: UInt8Images, target: UInt8Images
) -> None:
    images = field((240, 220, 160), (120, 55, 80))
    scale, white = (2.0, 0.5, 1.5), (250.0, 230.0, 210.0)
    restained = DensityScaling(target_white=white, scale=scale).standardize(images)[0]
    # red: half the light, twice the stain: a quarter; green: a quarter, half the stain: a half; blue: 0.5^1.5
    assert restained[9, 9].tolist() == [round(250 / 4), 230 / 2, round(210 * 0.5**1.5)]
    fitted = DensityScaling.fit(source, target)
    paler = np.clip(255 * (target / 255.0) ** 0.5, 0, 255).round().astype(np.uint8)
    np.testing.assert_allclose(DensityScaling.fit(paler, target).scale, 2, rtol=0.05)
    assert fitted.scale != (1, 1, 1)


def test_reinhard_moves_mean_and_deviation_and_clamps_the_gain() -> None:
    own = LabStatistics(mean=(50, 10, -10), deviation=(10, 4, 1))
    wanted = LabStatistics(mean=(60, 0, 5), deviation=(5, 8, 30))
    moved = transferred(np.array([[70.0, 12, -8], [50, 10, -10]]), own, wanted)
    np.testing.assert_allclose(moved, [[70, 4, 11], [60, 0, 5]])  # the gains 1/2, 2, and 30 clamped to 3


def test_reinhard_site_gives_all_pixels_the_mean_and_deviation_of_the_target(
    source: UInt8Images, target: UInt8Images
) -> None:
    restained = rgb_to_lab(ReinhardSite.fit(source, target).standardize(source)).reshape(-1, 3)
    wanted = rgb_to_lab(target).reshape(-1, 3)
    # Out-of-gamut colors are clipped, so not exactly.
    np.testing.assert_allclose(restained.mean(axis=0), wanted.mean(axis=0), atol=0.7)
    np.testing.assert_allclose(restained.std(axis=0), wanted.std(axis=0), rtol=0.08)


def test_reinhard_image_gives_each_image_the_mean_of_the_targets_images(
    source: UInt8Images, target: UInt8Images
) -> None:
    restained = rgb_to_lab(ReinhardImage.fit(source, target).standardize(source))
    wanted = rgb_to_lab(target).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(restained.mean(axis=(1, 2)), np.tile(wanted, (len(source), 1)), atol=2)


def test_histogram_curves_are_those_of_scikit_image(source: UInt8Images, target: UInt8Images) -> None:
    for channel in range(3):
        own, wanted = source[..., channel], target[..., channel]
        curve = matching_curve(np.bincount(own.ravel(), minlength=256), np.bincount(wanted.ravel(), minlength=256))
        np.testing.assert_allclose(curve[own], match_histograms(own.astype(np.float64), wanted), atol=1e-9)


def test_linear_transport_is_the_monge_map_of_two_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_transport, "NOISE_VARIANCE", 0.0)
    random = np.random.default_rng(3)
    mixing, other = random.normal(0, 10, (2, 3, 3)) + 40 * np.eye(3)
    own, wanted = mixing @ mixing.T, other @ other.T
    matrix = monge_matrix(own, wanted)
    inverse, root = linalg.inv(linalg.sqrtm(own)), linalg.sqrtm(own)
    np.testing.assert_allclose(matrix, inverse @ linalg.sqrtm(root @ wanted @ root) @ inverse, rtol=1e-8)
    np.testing.assert_allclose(matrix @ own @ matrix, wanted, rtol=1e-8)


def test_linear_transport_stretches_no_direction_more_than_four_times() -> None:
    gains = np.linalg.eigvalsh(monge_matrix(np.diag([1.0, 100, 1e4]), np.diag([1e4, 100, 1.0])))
    np.testing.assert_allclose(gains, [0.25, 1, 4])


def test_distribution_transfer_brings_each_projection_onto_the_target() -> None:
    random = np.random.default_rng(5)
    own = random.normal(150, 20, (2000, 3))
    wanted = np.where(random.random((2000, 1)) < 0.3, [60.0, 40, 120], [230.0, 220, 200]) + random.normal(
        0, 8, (2000, 3)
    )
    moved = distribution_transfer(own, wanted)
    for direction in random.normal(size=(5, 3)):
        unit = direction / np.linalg.norm(direction)
        before, after = (np.abs(np.sort(points @ unit) - np.sort(wanted @ unit)).mean() for points in (own, moved))
        assert after < 0.1 * before


def test_the_table_reproduces_an_affine_map_also_beyond_the_colors_it_has_seen() -> None:
    colors = np.random.default_rng(7).uniform(80, 180, (500, 3))
    matrix, shift = np.array([[0.9, 0.1, 0], [0, 1.1, 0], [-0.1, 0, 0.8]]), np.array([5.0, -20, 30])
    nodes = np.indices((NODES,) * 3).reshape(3, -1).T * (255 / (NODES - 1))
    np.testing.assert_allclose(fit_table(colors, colors @ matrix + shift), nodes @ matrix + shift, atol=0.4)


def test_sliced_transport_sends_a_color_to_one_color_and_neighbors_to_neighbors(
    source: UInt8Images, target: UInt8Images
) -> None:
    normalizer = SlicedTransport.fit(source, target)
    levels = np.arange(256, dtype=np.uint8)
    # The ramp from black to the source's field, beside a large field so that the white point is that of the source.
    own = np.median(source[:, :, 0].reshape(-1, 3), axis=0)
    ramp = np.rint(levels[None, :, None] / 255 * own).astype(np.uint8)
    image = np.concatenate([ramp, np.full((40, 256, 3), own.astype(np.uint8), np.uint8)])
    restained = normalizer.standardize(image[None])[0].astype(int)
    assert np.abs(np.diff(restained[0], axis=0)).max() <= 8
    assert (restained[1:] == restained[1]).all()


def test_reinhard_compartment_draws_no_edges(source: UInt8Images, target: UInt8Images) -> None:
    restained = ReinhardCompartment.fit(source, target).standardize(source).astype(float)
    for before, after in zip(source.astype(float), restained, strict=True):
        steps = [np.abs(np.diff(image.mean(axis=2), axis=1)).ravel() for image in (before, after)]
        flat = steps[0] < 2
        assert np.quantile(steps[1][flat], 0.99) < 12


def dyed(count: int, dyes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Optical densities [count, 3] of amounts of two dyes: some pixels have one, some the other, most both."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(0.2, 1.2, (count, 2))
    amounts[: count // 4, 0] = 0
    amounts[count // 4 : count // 2, 1] = 0
    return amounts @ dyes + random.normal(0, 0.002, (count, 3))


@pytest.mark.parametrize(("find", "degrees"), [(macenko_vectors, 1.5), (vahadane_vectors, 4)])
def test_the_dyes_that_were_mixed_are_found_azure_first(find: type, degrees: float) -> None:
    for order in (DYES, DYES[::-1]):
        found = find(dyed(4000, order))
        angles = np.degrees(np.arccos(np.clip((found * DYES).sum(axis=1), -1, 1)))
        assert angles.max() < degrees


def test_one_dye_is_not_taken_for_two() -> None:
    one = np.random.default_rng(0).uniform(0.2, 1, (1000, 1)) * DYES[:1]
    assert macenko_vectors(one) is None
    assert vahadane_vectors(one) is None
    assert by_dye(np.stack([DYES[0], -DYES[1]])) is None


def test_azure_is_what_absorbs_the_larger_share_of_red() -> None:
    # Eosin absorbs more light of every kind here, red included: only the share tells.
    np.testing.assert_allclose(by_dye(np.stack([5 * DYES[1], 0.3 * DYES[0]])), DYES)


def test_stain_separation_exchanges_the_dyes_and_keeps_the_rest() -> None:
    wanted = np.array([[0.6, 0.8, 0.0], [0.28, 0.96, 0.0]])
    third, other = np.cross(*DYES), np.cross(*wanted)
    third, other = third / np.linalg.norm(third), other / np.linalg.norm(other)
    white = (250.0, 250.0, 250.0)
    vectors = [tuple(tuple(row) for row in rows.tolist()) for rows in (DYES, wanted)]
    normalizer = Macenko(
        target_white=white, source_vectors=vectors[0], target_vectors=vectors[1], scale=(2.0, 0.5, 1.0)
    )
    density = 0.2 * DYES[0] + 0.3 * DYES[1] + 0.02 * third
    images = field((250, 250, 250), (0, 0, 0))
    images[0, 8:12, 8:12] = np.rint(250 * 10**-density)
    expected = 250 * 10 ** -(0.4 * wanted[0] + 0.15 * wanted[1] + 0.02 * other)
    np.testing.assert_allclose(normalizer.standardize(images)[0, 9, 9], expected, atol=2)
    np.testing.assert_allclose(completed(DYES) @ third, [0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("second", [[0.0, 0.0, 0.0], [0.6, 0.8, 0.05]])
def test_json_with_one_dye_twice_or_none_is_refused(second: list[float]) -> None:
    content = {
        "method": "macenko",
        "target_white": [250.0, 250.0, 250.0],
        "source_vectors": [[0.6, 0.8, 0.0], second],
        "target_vectors": DYES.tolist(),
        "scale": [1.0, 1.0, 1.0],
    }
    with pytest.raises(ModelError, match="two directions at least 8 degrees apart"):
        normalizer_from_json(json.dumps(content))
    restained = normalizer_from_json(json.dumps(content | {"source_vectors": DYES.tolist()}))
    assert restained.standardize(field((250, 250, 250), (90, 40, 120)))[0, 0, 0].tolist() == [250, 250, 250]
