"""Sliced optimal transport: the whole color distribution is mapped to the target's; stored as a smooth 3D table."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.color_table import fit_table, node_colors
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.measures import site_pixels
from hemabridge.normalizers.table_normalizer import TableNormalizer, as_table

ROTATIONS = 30
SLICED_PIXELS = 10_000


class SlicedTransport(TableNormalizer):
    """Map the distribution of colors to the target's.

    A sample of the source's pixels is moved by the iterative distribution transfer of Pitie, Kokaram and Dahyot (2007),
    CVIU 107, section 3, doi:10.1016/j.cviu.2006.11.011. This is a descent on the sliced Wasserstein distance of Rabin
    et al. (2011), SSVM, doi:10.1007/978-3-642-24785-9_37. It starts from the linear transport. A table of 17 x 17 x 17
    colors is fitted to the moved pixels. A penalty on its curvature extrapolates it to colors that do not occur.
    """

    method: Literal["sliced-ot"] = "sliced-ot"

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Transport a sample of the source's colors, and fit the table to it."""
        check_sites(source, target)
        linear = LinearTransport.fit(source, target)
        own, wanted = (_sample(images, linear.target_white) for images in (source, target))
        moved = distribution_transfer(linear.moved(own), wanted)
        # The table is fitted to the difference from the linear map, so that the penalty keeps it close to that map.
        nodes = linear.moved(node_colors()) + fit_table(own, moved - linear.moved(own))
        return cls(source_glass=linear.source_glass, target_white=linear.target_white, table=as_table(nodes))


def distribution_transfer(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points [P, 3] until they have the distribution of `target` [P, 3], over fixed random rotations."""
    generator = np.random.default_rng(0)
    moved = source.copy()
    for _ in range(ROTATIONS):
        axes, _ = np.linalg.qr(generator.standard_normal((3, 3)))
        own, wanted = moved @ axes, np.sort(target @ axes, axis=0)
        order = np.argsort(own, axis=0, kind="stable")
        shift = np.empty_like(own)
        np.put_along_axis(shift, order, wanted - np.take_along_axis(own, order, axis=0), axis=0)
        moved += shift @ axes.T
    return moved


def _sample(images: UInt8Images, white: Rgb) -> NDArray[np.float64]:
    """Return SLICED_PIXELS colors [P, 3]; in small sets they are repeated."""
    pixels = site_pixels(images, white, SLICED_PIXELS)
    return np.resize(pixels, (SLICED_PIXELS, 3)).astype(np.float64)
