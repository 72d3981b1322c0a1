import numpy as np
import pytest
from skimage.restoration import estimate_sigma
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.domain.cell_descriptor import NAMES, STEPS, cell_descriptor, clusters_of, noise_levels
from hemabridge.imaging.color import rgb_to_lab


def named(image: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, cell_descriptor(image), strict=True))


def test_a_drawn_cell_is_told_by_its_colors_and_size() -> None:
    """A purple nucleus, 26 of 64 px wide, in a pale cell on a bright field."""
    rows, columns = np.indices((64, 64)) - 31.5
    distance = np.hypot(rows, columns)
    image = np.full((64, 64, 3), (240, 235, 245), np.uint8)
    image[distance < 22] = (190, 170, 215)
    image[distance < 13] = (90, 40, 130)
    look = named(image)
    background, cytoplasm, nucleus = rgb_to_lab(np.array([[240, 235, 245], [190, 170, 215], [90, 40, 130]], np.uint8))
    for name, expected in (("background", background), ("cytoplasm", cytoplasm), ("nucleus", nucleus)):
        assert [look[f"{name}_{axis}"] for axis in "lab"] == pytest.approx(expected, abs=0.6)
    assert look["nucleus_density_green"] == pytest.approx(np.log10(235 / 40), abs=0.01)
    assert np.exp(look["log_nucleus_share"]) == pytest.approx(26 / 64, rel=0.06)
    assert np.isnan(look["red_cells_l"])


def test_a_blank_image_has_a_background_and_a_camera_alone() -> None:
    look = named(np.full((50, 50, 3), 200, np.uint8))
    assert {name for name, value in look.items() if not np.isnan(value)} == {
        *("background_l", "background_a", "background_b"),
        *("log_noise", "log_sharpness"),
    }
    assert len(STEPS) == len(NAMES) == 24


def test_noise_is_what_scikit_image_and_the_generator_say() -> None:
    luma = 120 + np.random.default_rng(0).normal(0, 5.0, (128, 128))
    assert noise_levels(luma) == pytest.approx(5.0, rel=0.06)
    assert noise_levels(luma) == pytest.approx(estimate_sigma(luma), rel=0.1)


def test_a_blurred_picture_is_less_sharp() -> None:
    from scipy.ndimage import gaussian_filter

    cell = simulate_cells(("neutrophil",), 1, HOSPITALS["clinic-like"], 0, 64)[0][0]
    assert named(gaussian_filter(cell, (1.5, 1.5, 0)))["log_sharpness"] < named(cell)["log_sharpness"] - 0.3


def labels_of(clusters: list[np.ndarray], count: int) -> np.ndarray:
    labels = np.full(count, -1)
    for label, rows in enumerate(clusters):
        labels[rows] = label
    return labels


def test_clear_clusters_are_those_that_scikit_learn_finds() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(center, 0.3, (20, 3)) for center in (0, 3, 6, 9)])
    own = labels_of(clusters_of(points, 4), 80)
    other = KMeans(4, n_init=5, random_state=0).fit_predict(points)
    assert adjusted_rand_score(own, other) == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_point_is_at_its_nearest_mean(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(60, 4))
    clusters = clusters_of(points, 5)
    labels = labels_of(clusters, 60)
    means = np.stack([points[rows].mean(axis=0) for rows in clusters])
    assert sorted(np.concatenate(clusters)) == list(range(60))
    assert (((points[:, None] - means) ** 2).sum(axis=2).argmin(axis=1) == labels).all()


def test_fewer_different_points_than_clusters_give_fewer() -> None:
    assert [rows.tolist() for rows in clusters_of(np.array([[1.0], [1.0], [5.0]]), 4)] in ([[0, 1], [2]], [[2], [0, 1]])
    assert [rows.tolist() for rows in clusters_of(np.ones((3, 2)), 4)] == [[0, 1, 2]]
