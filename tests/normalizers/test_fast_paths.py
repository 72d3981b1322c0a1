"""Fast ways to map all pixels, against the formulas in double precision."""

from copy import deepcopy

import numpy as np
import pytest
from numpy.typing import NDArray

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.normalizers.color_table import interpolation
from hemabridge.normalizers.density_scaling import DensityScaling
from hemabridge.normalizers.known_colors import distinct, packed
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.measures import density_of, from_density, whitened
from hemabridge.normalizers.sliced_transport import SlicedTransport
from hemabridge.normalizers.stain_separation import LARGEST_ADDED, Macenko
from hemabridge.normalizers.stain_vectors import completed, inverse_of


@pytest.fixture
def colors() -> UInt8Image:
    """All of a wide range of colors, also such as no cell has."""
    return np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)


def test_linear_transport_is_its_formula(source: UInt8Images, target: UInt8Images, colors: UInt8Image) -> None:
    fitted = LinearTransport.fit(source, target)
    measured = fitted.measure(source[0])
    wanted = np.clip(fitted.moved(whitened(colors, measured.white, fitted.target_white)), 0, 255)
    assert _is_rounded(fitted.apply(colors, measured), wanted, 1e-3)


def test_a_table_is_interpolated_linearly(source: UInt8Images, target: UInt8Images, colors: UInt8Image) -> None:
    fitted = SlicedTransport.fit(source, target)
    measured = fitted.measure(source[0])
    white = whitened(colors, measured.white, fitted.target_white)
    assert _is_rounded(fitted.apply(colors, measured), interpolation(white.reshape(-1, 3)) @ fitted.colors(), 0.05)


def test_densities_are_scaled_as_by_their_formula(source: UInt8Images, target: UInt8Images, colors: UInt8Image) -> None:
    fitted = DensityScaling.fit(source, target)
    measured = fitted.measure(source[0])
    wanted = from_density(density_of(colors, measured.white) * np.asarray(fitted.scale), fitted.target_white)
    np.testing.assert_array_equal(fitted.apply(colors, measured), wanted)


def test_dyes_are_replaced_as_by_their_formula(source: UInt8Images, target: UInt8Images, colors: UInt8Image) -> None:
    fitted = fit_on_cells("macenko", source, target)
    assert isinstance(fitted, Macenko)
    measured = fitted.measure(source[0])
    amounts = density_of(colors, measured.white) @ inverse_of(np.asarray(fitted.source_vectors))
    density = amounts * np.asarray(fitted.scale) @ completed(np.asarray(fitted.target_vectors))
    assert _is_rounded(fitted.apply(colors, measured), np.asarray(fitted.target_white) * 10.0**-density, 1e-3)


@pytest.mark.parametrize("name", ["sliced-ot", "reinhard-site"])
def test_known_colors_are_those_of_the_map(
    source: UInt8Images, target: UInt8Images, name: str, colors: UInt8Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = fit_on_cells(name, source, target)
    known = type(direct).from_json(direct.to_json())
    other = np.random.default_rng(1).integers(0, 256, colors.shape, np.uint8)
    pictures = [colors, np.where(other < 128, colors, other), colors[::-1]]  # none, some and all colors are known
    wanted = [direct.apply(picture, direct.measure(source[0])) for picture in pictures]
    monkeypatch.setattr("hemabridge.normalizers.known_colors.PIXELS_WITHOUT", 0)
    for picture, expected in zip(pictures, wanted, strict=True):
        np.testing.assert_array_equal(known.apply(picture, known.measure(source[0])), expected)


@pytest.mark.parametrize("levels", [1, 3, 256])
def test_different_colors_are_those_of_numpy(levels: int) -> None:
    image = np.random.default_rng(levels).integers(0, levels, (50, 31, 3), np.uint8)
    colors, places = distinct(packed(image))
    wanted, inverse = np.unique(packed(image), return_inverse=True)
    np.testing.assert_array_equal(colors, wanted)
    np.testing.assert_array_equal(places, inverse.reshape(50, 31))


def test_known_colors_are_not_copied_with_a_normalizer(source: UInt8Images, target: UInt8Images) -> None:
    fitted = fit_on_cells("linear-ot", source, target)
    several = np.broadcast_to(np.uint8(0), (1001, 1000, 3))
    assert not fitted.known_colors.mapped(several, lambda image: image).any()
    copied = deepcopy(fitted)
    assert copied == fitted
    assert copied.known_colors.mapped(source[0], lambda image: image + 1).any()


def test_densities_that_leave_single_precision_stay_finite(source: UInt8Images, colors: UInt8Image) -> None:
    close = np.array([[1.0, 0.0, 0.0], [np.cos(np.radians(8.1)), np.sin(np.radians(8.1)), 0.0]])
    red, blue = ((float(r), float(g), float(b)) for r, g, b in close)
    fitted = Macenko(
        source_glass=None,
        target_white=(255.0, 255.0, 255.0),
        source_vectors=(red, blue),
        target_vectors=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
        scale=(3.0, 3.0, 3.0),
    )
    measured = fitted.measure(source[0])
    amounts = density_of(colors, measured.white) @ inverse_of(np.asarray(fitted.source_vectors))
    density = amounts * np.asarray(fitted.scale) @ completed(np.asarray(fitted.target_vectors))
    assert np.abs(density).max() > LARGEST_ADDED
    assert _is_rounded(fitted.apply(colors, measured), 255 * 10.0 ** -np.clip(density, -10, 10), 1e-3)


def _is_rounded(found: UInt8Image, wanted: NDArray[np.floating], share: float) -> bool:
    """Return whether levels are the rounded values, except for one level in at most a share of them."""
    off = np.abs(found - np.rint(np.clip(wanted, 0, 255)).reshape(found.shape))
    return bool(off.max() <= 1 and (off > 0).mean() <= share)
