import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from hemabridge.metrics.clusters import clusters_of


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
