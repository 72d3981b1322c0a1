"""Each method against a program that others wrote: torchstain, POT, scikit-learn.

Histogram matching stands against scikit-image in `test_formulas.py`. For white point and optical-density scaling by the
image's own empty field there is no other program: their numbers are worked by hand there.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers import linear_transport
from hemabridge.normalizers.linear_transport import monge_matrix
from hemabridge.normalizers.reinhard import ReinhardImage, ReinhardSite
from hemabridge.normalizers.sliced_transport import distribution_transfer
from hemabridge.normalizers.stain_vectors import SPARSITY, by_dye, macenko_vectors, vahadane_vectors

HOW = "of the extra `dev`: make .venv/.installed"


def degrees_between(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip((found * wanted).sum(axis=1), -1, 1))).max())


def densities(images: UInt8Images) -> NDArray[np.float64]:
    """Decadic, against a white of 255; only pixels that absorb in every channel, as torchstain takes them."""
    density = -np.log10((images.reshape(-1, 3).astype(float) + 1) / 255)
    return density[~(density < 0.15 / np.log(10)).any(axis=1)]


def one_below_another(images: UInt8Images) -> UInt8Image:
    return images.reshape(-1, *images.shape[2:])


def test_reinhard_by_image_and_by_site_is_torchstains(source: UInt8Images, target: UInt8Images) -> None:
    torchstain = pytest.importorskip("torchstain.numpy.normalizers", reason=HOW)
    oracle = torchstain.NumpyReinhardNormalizer()
    oracle.fit(target[0])
    for image in source[:4]:
        ours = ReinhardImage.fit(source, target[:1]).standardize(image[None])[0]
        assert agree(ours, oracle.normalize(image))
    oracle.fit(one_below_another(target))
    ours = one_below_another(ReinhardSite.fit(source, target).standardize(source))
    assert agree(ours, oracle.normalize(one_below_another(source)))


def agree(ours: UInt8Image, theirs: UInt8Image) -> bool:
    """torchstain lets what leaves the gamut wrap around or clip, and cuts decimals off: so all but a few pixels."""
    differences = np.abs(ours.astype(int) - theirs.astype(int)).max(axis=2)
    alike = structural_similarity(ours, theirs, channel_axis=2)
    return bool(np.quantile(differences, 0.95) <= 2 and alike > 0.98)


def test_macenkos_dyes_are_torchstains(source: UInt8Images, target: UInt8Images) -> None:
    torchstain = pytest.importorskip("torchstain.numpy.normalizers", reason=HOW)
    for images in (source, target):
        oracle = torchstain.NumpyMacenkoNormalizer()
        oracle.fit(one_below_another(images), Io=255, alpha=1, beta=0.15)
        theirs, ours = by_dye(oracle.HERef.T), macenko_vectors(densities(images))
        assert theirs is not None
        assert ours is not None
        assert degrees_between(ours, theirs) < 0.1


def test_vahadanes_dyes_are_scikit_learns_sparse_dictionary(source: UInt8Images, target: UInt8Images) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason=HOW)
    for images in (source, target):
        density = densities(images)[::21]
        start = macenko_vectors(density)
        assert start is not None
        oracle = decomposition.DictionaryLearning(
            n_components=2,
            alpha=SPARSITY,
            fit_algorithm="cd",
            transform_algorithm="lasso_cd",
            positive_code=True,
            positive_dict=True,
            dict_init=start,
            max_iter=200,
            tol=1e-10,
            random_state=0,
        ).fit(density)
        theirs, ours = by_dye(oracle.components_), vahadane_vectors(density)
        assert theirs is not None
        assert ours is not None
        assert degrees_between(ours, theirs) < 1.5


def test_linear_transport_is_pots_map_between_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussian = pytest.importorskip("ot.gaussian", reason=HOW)
    monkeypatch.setattr(linear_transport, "NOISE_VARIANCE", 0.0)
    random = np.random.default_rng(1)
    own = np.cov(random.normal(0, (30, 20, 10), (500, 3)) @ random.normal(size=(3, 3)), rowvar=False)
    wanted = own * 0.5 + np.diag([30.0, 90.0, 60.0])
    theirs, _ = gaussian.bures_wasserstein_mapping(np.zeros(3), np.zeros(3), own, wanted)
    np.testing.assert_allclose(monge_matrix(own, wanted), theirs, rtol=1e-7, atol=1e-9)


def test_what_sliced_transport_leaves_is_little_to_pots_sliced_distance() -> None:
    ot = pytest.importorskip("ot", reason=HOW)
    random = np.random.default_rng(2)
    own, wanted = random.normal(150, 20, (1500, 3)), random.gamma(4, 20, (1500, 3))
    before, after = (
        ot.sliced_wasserstein_distance(points, wanted, n_projections=100, seed=0)
        for points in (own, distribution_transfer(own, wanted))
    )
    assert after < 0.05 * before
