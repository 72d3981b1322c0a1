"""The test cells of a bundle: images with the outputs that its models gave where it was made."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from hemabridge.deployment.bundle import EXPECTED, Bundle, restained_cell, test_cell
from hemabridge.errors import ImageError, ModelError
from hemabridge.imaging.files import encoded_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.bundled import BundleModel
from hemabridge.storage.results_file import STRICT

MAX_GRAY_LEVELS: Final = 1
"""Largest difference of a pixel, of 255: results are rounded, and a sum in another order may round otherwise."""
MAX_PROBABILITY: Final = 1e-3
"""Largest difference of a probability."""
LARGEST_CELL_BYTES: Final = 20_000_000
MOST_CELL_PIXELS: Final = 4_000_000
"""Largest width x height of a test cell, so that a small file cannot fill the memory; `export` writes 512 x 512."""


@dataclass(frozen=True)
class Expected:
    """What is expected of the test cells, beside the re-stained images.

    Attributes:
        probabilities: of each class, for each cell; empty without a classifier.
        verdicts: of the morphology guard on each cell; empty without a guard.
    """

    __pydantic_config__ = STRICT

    probabilities: tuple[tuple[float, ...], ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """The differences between the outputs for the test cells and what is expected.

    Attributes:
        cells: number of test cells.
        gray_levels: largest difference of a pixel, 0..255; None without a model that re-stains.
        probability: largest difference of a probability, 0..1; None without a classifier.
        other_verdicts: number of cells on which the guard has another verdict.
    """

    cells: int
    gray_levels: int | None
    probability: float | None
    other_verdicts: int

    @property
    def is_same(self) -> bool:
        """Whether all differences are within the limits."""
        return (
            (self.gray_levels or 0) <= MAX_GRAY_LEVELS
            and (self.probability or 0.0) <= MAX_PROBABILITY
            and self.other_verdicts == 0
        )


def test_entries(model: BundleModel, cells: Sequence[UInt8Image]) -> dict[str, bytes]:
    """Return the entries of test cells, uint8[H, W, 3] each, with what a bundle gives for them now."""
    restained, expected = _outputs(model, cells)
    images = {test_cell(number): cell for number, cell in enumerate(cells, 1)}
    images |= {restained_cell(number): image for number, image in enumerate(restained, 1)}
    entries = {name: bytes(encoded_image(Path(name), image)) for name, image in images.items()}
    return entries | {EXPECTED: json.dumps(asdict(expected), allow_nan=False).encode()}


def check_test_cells(model: BundleModel) -> Checked:
    """Re-stain and classify the test cells of a bundle, and compare.

    Raises:
        ModelError: a test cell is damaged.
    """
    bundle = model.bundle
    numbers = range(1, bundle.manifest.test_cells + 1)
    cells = [_read(bundle, test_cell(number)) for number in numbers]
    restained, got = _outputs(model, cells)
    wanted = _expected(bundle)
    gray_levels = None
    if model.restainer is not None:
        images = [_read(bundle, restained_cell(number)) for number in numbers]
        gray_levels = max((_distance(*pair) for pair in zip(restained, images, strict=True)), default=0)
    probability = None
    if model.own_classifier is not None:
        one, other = np.asarray(got.probabilities), np.asarray(wanted.probabilities)
        probability = float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else 1.0
    same = len(got.verdicts) == len(wanted.verdicts)
    others = sum(one != other for one, other in zip(got.verdicts, wanted.verdicts, strict=True)) if same else len(cells)
    return Checked(len(cells), gray_levels, probability, others)


def _outputs(model: BundleModel, cells: Sequence[UInt8Image]) -> tuple[list[UInt8Image], Expected]:
    restained: list[UInt8Image] = []
    verdicts: list[str] = []
    if model.restainer is not None:
        guarded, plain = model.guarded(), model.standardizer()
        for cell in cells:
            restained.append(plain.standardize(cell[None])[0])
            if guarded is not None:
                verdicts += guarded.checked(cell[None]).verdicts.verdicts
    found = () if model.own_classifier is None else model.classify(cells).probabilities.astype(np.float64).tolist()
    return restained, Expected(tuple(tuple(round(value, 6) for value in row) for row in found), tuple(verdicts))


def _expected(bundle: Bundle) -> Expected:
    try:
        found = TypeAdapter(Expected).validate_json(bundle.text(EXPECTED))
    except ValidationError as error:
        raise ModelError(
            f"expected the outputs for the test cells in {EXPECTED}, got another text; export it again"
        ) from error
    if len({len(row) for row in found.probabilities}) > 1:
        raise ModelError(f"expected a probability for each class in {EXPECTED}, got fewer or more; export it again")
    return found


def _distance(one: UInt8Image, other: UInt8Image) -> int:
    if one.shape != other.shape:
        return 255
    return int(np.abs(one.astype(np.int64) - other).max())


def _read(bundle: Bundle, name: str) -> UInt8Image:
    content = bundle.entries[name]
    if len(content) > LARGEST_CELL_BYTES:
        raise ModelError(f"expected a test cell of at most {LARGEST_CELL_BYTES:,} bytes, got {name}; export it again")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > MOST_CELL_PIXELS:
                raise ImageError(f"of {image.width} x {image.height} pixels")
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ImageError) as error:
        raise ModelError(
            f"expected a test cell as PNG, got a damaged one: {name} ({error}); export it again"
        ) from error
