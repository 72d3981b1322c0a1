import imagehash
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.neighbors import NearestNeighbors

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.synthesis.copies import check_copies, copies_among, nearest_training, training_cells

N, DIM = 12, 6


def pictures(count: int, seed: int) -> UInt8Images:
    """Pictures with structure of their own: no two show the same field."""
    noise = np.random.default_rng(seed).normal(0, 1, (count, 64, 64, 3))
    smooth = gaussian_filter(noise, (0, 2.5, 2.5, 0))
    return np.clip(128 + 90 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def features(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, DIM))


@pytest.fixture
def images() -> UInt8Images:
    return pictures(N, 1)


def test_distances_are_those_of_scikit_learn_and_imagehash(images: UInt8Images) -> None:
    own, known = features(4, 5), features(N, 6)
    cells = pictures(4, 2)
    found = nearest_training(cells, own, training_cells([str(i) for i in range(N)], images, known))
    expected, _ = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(own)
    assert found.features == pytest.approx(expected[:, 0])
    hashes = [imagehash.phash(Image.fromarray(image)) for image in cells]
    both = [imagehash.phash(Image.fromarray(np.ascontiguousarray(i))) for i in (*images, *images[:, :, ::-1])]
    assert found.bits.tolist() == [min(one - other for other in both) for one in hashes]


def test_a_training_cell_is_found_again_changed_a_little_or_mirrored(images: UInt8Images) -> None:
    training = training_cells([f"cell {i}" for i in range(N)], images, features(N, 6))
    noisy = np.clip(images[7] + np.random.default_rng(0).normal(0, 4, images[7].shape), 0, 255).astype(np.uint8)
    cells = np.stack([noisy, images[3][:, ::-1], *pictures(2, 9)])
    synthetic = nearest_training(cells, features(4, 8), training)
    others = nearest_training(pictures(6, 11), features(6, 12), training)
    check = check_copies(["a", "b", "c", "d"], synthetic, others, others, training)
    assert {(copy.id, copy.training_id, copy.rule) for copy in check.copies} == {
        ("a", "cell 7", "same field"),
        ("b", "cell 3", "same field"),
    }
    assert (check.synthetic.count, check.synthetic.n, check.training) == (2, 4, N)
    assert (check.real.count, check.real.n) == (0, 6)
    assert check.copies[0].correlation >= check.copies[1].correlation
    assert check.nearest[:2] == check.copies
    assert [copy.rule for copy in check.nearest[2:]] == [None, None]


@pytest.mark.parametrize("view", ["turned", "turned and mirrored", "cropped", "smaller"])
def test_another_view_of_a_training_cell_is_found(view: str) -> None:
    cells = simulate_cells(["neutrophil", "lymphocyte"], 8, HOSPITALS["clinic-like"], 3, 96)[0]
    training = training_cells([f"cell {i}" for i in range(8)], cells[:8], features(8, 6))
    seen = {
        "turned": np.rot90(cells[5]),
        "turned and mirrored": np.rot90(cells[5])[:, ::-1],
        "cropped": np.asarray(Image.fromarray(cells[5][6:-10, 8:-8]).resize((96, 96))),
        "smaller": np.pad(np.asarray(Image.fromarray(cells[5]).resize((80, 80))), ((8, 8), (8, 8), (0, 0)), "edge"),
    }[view]
    found = nearest_training(np.stack([seen, *cells[10:13]]).astype(np.uint8), features(4, 8), training)
    assert found.is_view.tolist() == [True, False, False, False]
    assert found.place[0] == 5
    others = nearest_training(cells[13:16], features(3, 12), training)
    check = check_copies(["view", "b", "c", "d"], found, others, others, training)
    assert [(copy.id, copy.training_id, copy.rule) for copy in check.copies] == [("view", "cell 5", "same field")]


def test_nearer_than_real_cells_in_one_measure_alone_is_no_copy(images: UInt8Images) -> None:
    training = training_cells([str(i) for i in range(N)], images, features(N, 6))
    found = nearest_training(pictures(3, 9), features(3, 8), training)
    far, near = float(found.features.max()) + 1, float(found.features.min()) / 2
    assert copies_among(found, far, int(found.bits.max()) + 1).all()
    assert not copies_among(found, far, int(found.bits.min())).any()
    assert not copies_among(found, near, int(found.bits.max()) + 1).any()


def test_limits_come_from_real_cells_that_are_not_scored(images: UInt8Images) -> None:
    training = training_cells([str(i) for i in range(N)], images, features(N, 6))
    real, unscored = (nearest_training(pictures(5, seed), features(5, seed), training) for seed in (21, 22))
    check = check_copies(list("abcde"), real, real, unscored, training)
    assert check.limit_features == pytest.approx(unscored.features.min())
    assert check.limit_bits == unscored.bits.min()
    assert check.synthetic == check.real
