"""The profile of a site: the appearance descriptors of some of its cells, and the distance of a folder from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hemabridge.domain.cell_descriptor import NAMES, STEPS, cell_descriptor, clusters_of
from hemabridge.fields.cell_crop import CellSize, propose_crop_px
from hemabridge.imaging.kept import Kept, content_hash
from hemabridge.imaging.scale import CropPx, WrittenCropPx, crop_center
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.sampling import evenly_spaced

Descriptors: TypeAlias = NDArray[np.float64]
"""One row for each cell, float64[N, 24], by `hemabridge.domain.cell_descriptor.NAMES`; NaN where nothing was found."""

FEWEST_CELLS: Final = 20
"""Smallest number of cells for a profile."""
MOST_CELLS: Final = 150
"""Largest number of cells of a site that are measured, evenly spaced; more do not improve the precision."""

LARGEST_FOLDER: Final = 200
"""Largest size of a simulated folder, in images: above it, only the variation of the class prior remains."""

SIMULATED: Final = 200
CLUSTERS: Final = 8
CONCENTRATION: Final = 8.0
"""Concentration of the Dirichlet distribution of the shares of kinds of cells: a share of 1/4 gets 1/4 +- 0.14."""

IN_QUANTILE, BORDERLINE_QUANTILE, BORDERLINE_FACTOR = 0.95, 0.99, 1.75
"""In-distribution: up to the 95% quantile of folders that are simulated from the site. Borderline: up to 1.75 times the
99% quantile."""

USUAL_FOLDER: Final = 60
"""Images of the simulated folders whose standard deviation is the unit of each number of a descriptor."""

COMMON, SHOWN = 0.5, 0.2
"""Shares of the cells in which a compartment must be found: of a site, and of a folder."""

LOST: Final = 6.0
"""A compartment of the site that is missing in the folder counts as this many usual differences."""

Answer: TypeAlias = Literal["in-distribution", "borderline", "out-of-distribution"]
_Row: TypeAlias = Annotated[tuple[float | None, ...], Field(min_length=len(NAMES), max_length=len(NAMES))]


@dataclass(frozen=True)
class Distance:
    """The distance of a folder's appearance from that of the images on which a model was fitted.

    Attributes:
        value: the distance; about 1 for a folder of the same site.
        in_distribution_max: the folder is in-distribution up to this value.
        borderline_max: it is borderline up to this value, and out-of-distribution above it.
        quantile: share of simulated folders of the same site and size with a smaller distance; None if not computed.
        of_many: the class of `USUAL_FOLDER` images at this distance, whose limits are narrower than those of fewer;
            None if not computed.
    """

    value: float
    in_distribution_max: float
    borderline_max: float
    quantile: float | None = None
    of_many: Answer | None = None

    @property
    def answer(self) -> Answer:
        """The class of the distance; if out-of-distribution, do not trust the model."""
        if self.value <= self.in_distribution_max:
            return "in-distribution"
        return "borderline" if self.value <= self.borderline_max else "out-of-distribution"


class SiteProfile(BaseModel):
    """The descriptors of some cells of a site, without images and file names.

    Attributes:
        side_px: side of the square around a cell, in pixels of the measured images.
        crop_px: the same in pixels of the site's files; `whole` if whole images were resized; None if unknown.
        cells: one row for each cell, by `hemabridge.domain.cell_descriptor.NAMES`; None where nothing was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    side_px: int = Field(ge=1, le=4096)
    crop_px: WrittenCropPx | None = None
    cells: tuple[_Row, ...] = Field(min_length=FEWEST_CELLS, max_length=MOST_CELLS)

    @classmethod
    def of(cls, images: UInt8Images, crop_px: CropPx | None = None) -> Self | None:
        """Measure a site; None if there are fewer than `FEWEST_CELLS` images.

        Args:
            images: cells of the site, uint8[N, H, W, 3], of any classes.
            crop_px: side of the square of the files that they show, in pixels; None: estimated (`cell_side_px`).
        """
        if len(images) < FEWEST_CELLS:
            return None
        chosen = images[evenly_spaced(len(images), MOST_CELLS, ends=True)]
        shortest = min(images.shape[1:3])
        side = shortest if crop_px is not None else cell_side_px(chosen) or shortest
        descriptors = descriptors_of([crop_center(image, side) for image in chosen])
        rows = tuple(tuple(None if np.isnan(x) else round(float(x), 4) for x in row) for row in descriptors)
        return cls(side_px=side, crop_px=crop_px, cells=rows)

    def distance(self, descriptors: Descriptors) -> Distance:
        """Return the distance of a folder from the descriptors of some of its cells, float64[N, 24], N at least 1.

        It is the root mean square of the differences of medians. The unit of each difference is its standard deviation
        between simulated folders of this site with other class priors, and at least a step that is too small to be
        relevant (`STEPS`). Both limits come from simulated folders with as many images.
        """
        own, medians = self._medians, _medians(descriptors)
        lost = np.isnan(medians) & ~np.isnan(own)
        value = float(self._lengths(np.where(lost, LOST * self._scale, medians - own)[None])[0])
        usual = self.usual(len(descriptors))
        of_many = Distance(value, *_limits(self.usual(max(len(descriptors), USUAL_FOLDER)))).answer
        return Distance(value, *_limits(usual), float((usual < value).mean()), of_many)

    def usual(self, count: int) -> NDArray[np.float64]:
        """Return the distances of `SIMULATED` folders of this site with `count` images, float64[SIMULATED], ascending.

        Bootstrap (Efron 1979, doi:10.1214/aos/1176344552) of the folder and of the profile. The shares of kinds of
        cells are drawn from a Dirichlet distribution, since the class prior differs from day to day.
        """
        held = min(count, LARGEST_FOLDER)
        if held not in self._usual:
            drawn = self._usual_folders if held == USUAL_FOLDER else self._simulated(held)
            self._usual[held] = np.sort(self._lengths(drawn))
        return self._usual[held].copy()

    @cached_property
    def _usual(self) -> dict[int, NDArray[np.float64]]:
        return {}

    @cached_property
    def _descriptors(self) -> Descriptors:
        return np.array(self.cells, np.float64)

    @cached_property
    def _medians(self) -> NDArray[np.float64]:
        return _medians(self._descriptors, COMMON)

    @cached_property
    def _kinds(self) -> list[NDArray[np.intp]]:
        return kinds_of(self._descriptors, CLUSTERS)

    @cached_property
    def _usual_folders(self) -> NDArray[np.float64]:
        return self._simulated(USUAL_FOLDER)

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        drawn = self._usual_folders
        known = ~np.isnan(drawn)
        spread = np.zeros(len(STEPS))
        enough = known.sum(axis=0) > 1
        spread[enough] = np.nanstd(drawn[:, enough], axis=0)
        return np.asarray(np.sqrt(spread**2 + STEPS**2))

    def _lengths(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the root mean square of float64[B, 24] in units of usual differences, without NaN."""
        squares = (differences / self._scale) ** 2
        return np.asarray(np.sqrt(np.mean(squares, axis=1, where=~np.isnan(squares))))

    def _simulated(self, count: int) -> NDArray[np.float64]:
        rng = np.random.default_rng((len(self.cells), count))
        descriptors, own = self._descriptors, len(self.cells)
        sizes, ordered = np.array([len(kind) for kind in self._kinds]), np.concatenate(self._kinds)
        alpha, first = CONCENTRATION * sizes / own, np.cumsum(sizes) - sizes
        folders, profiles = np.empty((SIMULATED, count), np.intp), np.empty((SIMULATED, own), np.intp)
        for place in range(SIMULATED):
            drawn = rng.multinomial(count, rng.dirichlet(alpha))
            folders[place] = ordered[first.repeat(drawn) + rng.integers(sizes.repeat(drawn))]
            profiles[place] = rng.integers(own, size=own)
        return _medians_of(descriptors, folders, SHOWN) - _medians_of(descriptors, profiles, COMMON)


def _limits(usual: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest distances of in-distribution and of borderline folders, from those of simulated folders."""
    borderline = BORDERLINE_FACTOR * float(np.quantile(usual, BORDERLINE_QUANTILE))
    return float(np.quantile(usual, IN_QUANTILE)), borderline


def kinds_of(descriptors: Descriptors, count: int) -> list[NDArray[np.intp]]:
    """Cluster the cells of a site, float64[N, 24], into at most `count` kinds by k-means; return the rows of each."""
    middle = _medians(descriptors, 0.0)
    spread = 1.4826 * _medians(np.abs(descriptors - middle), 0.0)
    scaled = (descriptors - middle) / np.fmax(spread, STEPS)
    return clusters_of(np.clip(np.nan_to_num(scaled), -4, 4), count)


class SiteProfiles(BaseModel):
    """The profiles of the two sites that a model was fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SiteProfile
    target: SiteProfile


_PROFILES: Kept[tuple[str, CropPx | None], SiteProfile | None] = Kept(8)
_CELLS: Kept[str, NDArray[np.float64]] = Kept(2000)


def profiles_of(
    source: UInt8Images,
    target: UInt8Images,
    source_crop_px: CropPx | None = None,
    target_crop_px: CropPx | None = None,
) -> SiteProfiles | None:
    """Measure both sites, uint8[N, H, W, 3] and uint8[M, H', W', 3]; None if one has fewer than `FEWEST_CELLS`."""
    if min(len(source), len(target)) < FEWEST_CELLS:
        return None
    one, other = profile_of(source, source_crop_px), profile_of(target, target_crop_px)
    return None if one is None or other is None else SiteProfiles(source=one, target=other)


def descriptors_of(cells: Sequence[UInt8Image]) -> Descriptors:
    """Return the descriptors of cells, square images uint8[S, S, 3].

    Those of recent cells are kept: `hemabridge run` asks for the same images before it classifies and before it
    re-stains them, and `hemabridge watch` once more at its gate.
    """
    return np.array([_CELLS.get(content_hash(cell), partial(cell_descriptor, cell)) for cell in cells])


def cell_side_px(images: Iterable[UInt8Image]) -> int | None:
    """Return the side of the square around a cell, in pixels (`propose_crop_px`); without nuclei the shortest side.

    One image after the other is taken and let go. None if there is none.
    """
    measured = [(CellSize.of(image), min(image.shape[:2])) for image in images]
    found = propose_crop_px(size for size, _ in measured)
    return min((shortest for _, shortest in measured), default=None) if found is None else found


def profile_of(images: UInt8Images, crop_px: CropPx | None = None) -> SiteProfile | None:
    """Return `SiteProfile.of`, from a cache: a study fits several models on the same cells."""
    return _PROFILES.get((content_hash(images), crop_px), lambda: SiteProfile.of(images, crop_px))


def _medians_of(descriptors: Descriptors, rows: NDArray[np.intp], least: float) -> NDArray[np.float64]:
    """Return `_medians` of several selections of rows, intp[B, N]: float64[B, 24].

    Values of one number of all selections are sorted at once, beside each other in memory: several times faster.
    """
    found = np.empty((len(rows), descriptors.shape[1]))
    for column, values in enumerate(descriptors.T):
        ordered = np.sort(values[rows], axis=1)  # NaN last
        count = rows.shape[1] - np.count_nonzero(np.isnan(ordered), axis=1)
        places = np.stack([np.maximum(count - 1, 0) // 2, count // 2])
        middle = np.take_along_axis(ordered, np.minimum(places, rows.shape[1] - 1).T, axis=1).mean(axis=1)
        found[:, column] = np.where(count >= max(1.0, least * rows.shape[1]), middle, np.nan)
    return found


def _medians(descriptors: Descriptors, least: float = SHOWN) -> NDArray[np.float64]:
    """Return the median of each column without NaN; NaN where fewer than a share `least` of the rows have a value."""
    count = np.count_nonzero(~np.isnan(descriptors), axis=0)
    ordered = np.sort(descriptors, axis=0)  # NaN last
    places = np.stack([np.maximum(count - 1, 0) // 2, count // 2.0]).astype(np.intp)
    middle = np.take_along_axis(ordered, np.minimum(places, len(descriptors) - 1), axis=0).mean(axis=0)
    return np.where(count >= max(1.0, least * len(descriptors)), middle, np.nan)
