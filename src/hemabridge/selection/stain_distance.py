"""The distance of a stain from the target's, compartment by compartment: sliced Wasserstein, in CIELAB and density."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.color import optical_density, rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.wasserstein import Slices

Floats = NDArray[np.float64]

COMPARTMENTS = ("nucleus", "cytoplasm", "red_cells", "background")
SPACES = ("lab", "od")

PIXELS = 400
"""Largest number of pixels that are measured of each compartment of a cell."""

RAREST_SHARE = 0.1
"""Smallest share of cells, of both sites, that must show a compartment for it to be measured."""

# Colors of blood films lie within these boxes; values outside are clipped.
SLICES = {
    "lab": Slices.through((0, -40, -100), (100, 80, 60), nodes=96),
    "od": Slices.through((0, 0, 0), (2, 2, 2), nodes=96),
}


@dataclass(frozen=True, eq=False)
class Places:
    """The pixels of each compartment of each cell, segmented once on the original cells.

    If a translator moves a nucleus, nuclear colors appear at pixels of another compartment, which increases the
    distance.

    Attributes:
        pixels: for each cell and compartment, indices of pixels in the flattened image.
    """

    pixels: tuple[tuple[NDArray[np.intp], ...], ...]

    @classmethod
    def found(cls, images: UInt8Images) -> "Places":
        """Segment uint8[N, H, W, 3], and draw up to `PIXELS` pixels of each compartment with a fixed seed."""
        generator = np.random.default_rng(0)
        cells = []
        for image in images:
            masks = segment(image)
            inside = [np.flatnonzero(getattr(masks, name)) for name in COMPARTMENTS]
            cells.append(tuple(p if len(p) <= PIXELS else generator.choice(p, PIXELS, replace=False) for p in inside))
        return cls(tuple(cells))


@dataclass(frozen=True, eq=False)
class StainProfile:
    """The color distribution of each cell's compartments.

    Attributes:
        shares: for each of `SPACES`, of each cell and compartment the share of its pixels at each node of
            `SLICES`, float32[N, 4, P, nodes]; 0 where a cell lacks the compartment.
        present: whether a cell has a compartment, bool[N, 4].
    """

    shares: dict[str, NDArray[np.float32]]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, images: UInt8Images, places: Places) -> "StainProfile":
        """Measure uint8[N, H, W, 3] at pixels that were segmented on images of the same size."""
        present = np.array([[len(p) > 0 for p in cell] for cell in places.pixels], bool).reshape(-1, len(COMPARTMENTS))
        size = {space: (len(slices.vectors), slices.nodes) for space, slices in SLICES.items()}
        shares = {space: np.zeros((*present.shape, *size[space]), np.float32) for space in SPACES}
        for row, (image, cell) in enumerate(zip(images, places.pixels, strict=True)):
            colors = image.reshape(-1, 3)
            for column in np.flatnonzero(present[row]):
                points = colors[cell[column]]
                shares["lab"][row, column] = SLICES["lab"].shares(rgb_to_lab(points).astype(np.float64))
                shares["od"][row, column] = SLICES["od"].shares(optical_density(points).astype(np.float64))
        return cls(shares, present)

    def pooled(self, drawn: Floats) -> dict[str, Floats]:
        """Return the pooled shares of all cells, weighted by how often each was drawn [B, N]: float64[B, 4, P, nodes].

        NaN if no drawn cell has the compartment.
        """
        held = drawn @ self.present
        out = {}
        for space, shares in self.shares.items():
            total = drawn @ shares.reshape(len(shares), -1)
            with np.errstate(invalid="ignore", divide="ignore"):
                out[space] = total.reshape(-1, *shares.shape[1:]) / held[:, :, None, None]
        return out


def measurable(source: StainProfile, target: StainProfile) -> NDArray[np.bool_]:
    """Return which compartments enough cells of both sites show, bool[4]; only the background if there are none.

    A cell in which no nucleus is found counts as background only.
    """
    shown = [profile.present.mean(axis=0) >= RAREST_SHARE for profile in (source, target)]
    both = shown[0] & shown[1]
    return both if both.any() else np.array([name == "background" for name in COMPARTMENTS])


def stain_distances(one: dict[str, Floats], other: dict[str, Floats]) -> dict[str, Floats]:
    """Return the sliced Wasserstein distance of pooled shares in each of `SPACES`, float64[B, 4].

    `lab` is in units of CIELAB (1 is about the smallest visible difference), `od` in optical density relative to 255.
    """
    return {space: SLICES[space].distance(one[space], other[space]) for space in SPACES}
