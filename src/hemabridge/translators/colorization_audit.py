"""Audit of the chroma that colorization predicts: error by class, and rank correlation with the original chroma."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.colorization_nets import Colorizer
from hemabridge.translators.neural import NeuralStandardizer

AUDITED = 60
"""Number of cells of each site that are measured for a snapshot."""

LEAST_RANKED = 20
"""Fewest pixels of a cytoplasm, and fewest cells, for a rank correlation."""


@dataclass(frozen=True)
class ChromaAgreement:
    """Spearman's rank correlations of the cytoplasm's chroma before and after, -1..1; None if there is too little.

    Attributes:
        within_cells: of the pixels of one cytoplasm, the median over cells.
        between_cells: of the cells' median chroma.
        n_cells: number of cells in which a cytoplasm was found.
    """

    within_cells: float | None
    between_cells: float | None
    n_cells: int


@torch.inference_mode()
def chroma_error(
    colorizer: Colorizer, images: UInt8Images, labels: NDArray[np.int64], classes: Sequence[str]
) -> Mapping[str, float]:
    """Predict the color of target images from their luminance, and measure the error of each class.

    Args:
        colorizer: a trained one; it is set to evaluation.
        images: target images that training did not use, uint8[N, H, W, 3].
        labels: index of each into `classes`, int64[N]; images with other values (unknown class) are skipped.
        classes: names of the classes.

    Returns:
        For each class that occurs, the mean distance in a and b (CIE Lab) over its pixels, >= 0.
    """
    colorizer.eval()
    errors = np.array([_own_error(colorizer, image) for image in images])
    return {
        name: float(errors[labels == number].mean()) for number, name in enumerate(classes) if (labels == number).any()
    }


def chroma_agreement(before: UInt8Images, after: UInt8Images) -> ChromaAgreement:
    """Compare the cytoplasm's chroma in source images and in the same images re-stained, uint8[N, H, W, 3].

    Chroma is the distance in a and b to the image's background, so that the color of the lamp has no effect. The
    cytoplasm is segmented in the image before. Basophilia and granules are differences of chroma; a translator that
    invents them from luminance has no correlation.

    Raises:
        InputError: the two do not hold the same number of images of the same size.
    """
    if before.shape != after.shape:
        raise InputError(f"expected the same images before and after, got the shapes {before.shape} and {after.shape}")
    pairs = [pair for pair in map(_cytoplasm_chroma, before, after) if pair is not None]
    within = [rank for rank in (_spearman(*pair) for pair in pairs) if rank is not None]
    medians = np.array([[np.median(chroma) for chroma in pair] for pair in pairs]).reshape(-1, 2)
    between = _spearman(medians[:, 0], medians[:, 1]) if len(pairs) >= LEAST_RANKED else None
    return ChromaAgreement(float(np.median(within)) if within else None, between, len(pairs))


@torch.inference_mode()
def write_color_audit(standardizer: NeuralStandardizer, source: CellSet, target: CellSet, path: Path) -> None:
    """Write the chroma audit of a snapshot of `colorization` as JSON; nothing is written for other translators.

    `chroma_error`: by class, on the target's training cells, which gives a lower bound; `agreement`: on the source's
    cells; `clipped`: mean share of the pixels of the source's cells whose predicted color is outside sRGB.
    """
    net = standardizer.generator
    if not isinstance(net, Colorizer):
        return
    own, wanted = (cells.subset(evenly_spaced(len(cells), AUDITED)) for cells in (source, target))
    clipped = [float(net.color(to_network(image[None])).clipped_fraction) for image in own.images]
    found = {
        "chroma_error": chroma_error(net, wanted.images, wanted.labels, wanted.classes),
        "agreement": asdict(chroma_agreement(own.images, standardizer.standardize(own.images))),
        "clipped": float(np.mean(clipped)),
        "cells": {"source": len(own), "target": len(wanted)},
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(found, indent=2), encoding="utf-8")


def _cytoplasm_chroma(before: UInt8Image, after: UInt8Image) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    parts = segment(before)
    if np.count_nonzero(parts.cytoplasm) < LEAST_RANKED or not parts.background.any():
        return None
    one, other = (_chroma(image, parts.background)[parts.cytoplasm] for image in (before, after))
    return one, other


def _chroma(image: UInt8Image, background: NDArray[np.bool_]) -> NDArray[np.float32]:
    ab = rgb_to_lab(image)[..., 1:]
    return np.asarray(np.linalg.norm(ab - np.median(ab[background], axis=0), axis=-1), np.float32)


def _own_error(colorizer: Colorizer, image: UInt8Image) -> float:
    """Return the mean distance in a and b of one target image to the colors predicted from its luminance."""
    predicted = from_network(colorizer.recolor(to_network(image[None])).images)[0]
    return float(np.linalg.norm((rgb_to_lab(image) - rgb_to_lab(predicted))[..., 1:], axis=-1).mean())


def _spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Return the rank correlation; None if one of the two is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)
