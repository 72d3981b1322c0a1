"""Whether a folder of images is in-distribution for a model: its distance from the sites of the training."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from hemabridge.domain.site_profile import (
    FEWEST_CELLS,
    Answer,
    Descriptors,
    Distance,
    SiteProfile,
    cell_side_px,
    descriptors_of,
)
from hemabridge.errors import ImageError, InputError
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.imaging.files import IMAGE_SUFFIXES
from hemabridge.imaging.reader import FILES, ImageReader
from hemabridge.imaging.scale import CropPx, CropSpec, side_at
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.model import Model
from hemabridge.models.open import read_cells
from hemabridge.models.restaining import TranslatorModel
from hemabridge.progress import Progress, silent
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import atomic_write

MEASURED_IMAGES: Final = 60
"""Largest number of images of a folder that are measured, evenly spaced; more do not change the answer
(`benchmarks/measured_images.py`)."""
SCALE_IMAGES: Final = 40

FEW_IMAGES: Final = MEASURED_IMAGES
"""Below this number an answer at the edge says that the folder may show one smear of a hospital that is known, and any
answer says so if as many images at the same distance would get a worse one."""

HARDLY_ANY: Final = FEWEST_CELLS
"""Below this number every answer but a refusal says that so few images hardly show an unknown hospital."""

ANSWER_FILE: Final = "site.json"

CROP_ADVICE: Final = (
    "if cells have another size in these images, state the crop (--crop-px; `hemabridge audit MANIFEST` proposes one)"
)
"""What a command with --crop-px adds to an answer other than in-distribution."""

_MEANING: Final = {
    "in-distribution": "like what the model was trained on",
    "borderline": "at the edge of what the model was trained on",
    "out-of-distribution": "unlike what the model was trained on, in color or in scale",
}


@dataclass(frozen=True)
class SiteAnswer:
    """Whether a folder is in-distribution for a model.

    Attributes:
        images: number of measured images.
        source: distance of the folder from the source site of the model; for a target-only model from its training
            data, for a classifier from the nearest site of its training.
        target: distance of the folder from the target site; None for a classifier.
    """

    images: int
    source: Distance
    target: Distance | None

    @property
    def answer(self) -> Answer:
        """The class of the distance `source`."""
        return self.source.answer

    @property
    def text(self) -> str:
        """The answer as one plain sentence. A command adds its own advice, such as `CROP_ADVICE`."""
        target = self.target
        if target is not None and target.answer == "in-distribution" and self.source.answer != "in-distribution":
            return (
                f"these images look like the model's target already (distance {target.value:.2f}, in-distribution "
                f"up to {target.in_distribution_max:.2f}); they may not need to be re-stained"
            )
        action = {
            "in-distribution": "",
            "borderline": f"; {self._of_one_smear}check some results by eye",
            "out-of-distribution": "; do not trust the results",
        }[self.answer]
        return f"{self.answer}: {self._together} {_MEANING[self.answer]}{action}{self.of_few} ({self._distance})"

    @property
    def of_few(self) -> str:
        """That so few images hardly show an unknown hospital, as an addition to a sentence; empty if they do."""
        if self.images >= FEW_IMAGES or self.answer == "out-of-distribution":
            return ""
        of_many = self.source.of_many
        if of_many is not None and of_many != self.answer:
            return (
                f"; {FEW_IMAGES} or more images at this distance would be {of_many}: give all images of the hospital "
                "in one folder"
            )
        if self.images >= HARDLY_ANY:
            return ""
        return f"; so few can hardly show an unknown hospital: give {FEW_IMAGES} or more in one folder"

    @property
    def _together(self) -> str:
        return "the image is" if self.images == 1 else "all images together are"

    @property
    def _of_one_smear(self) -> str:
        if self.images >= FEW_IMAGES:
            return ""
        return "few images, all of one or two smears, may lie there at a hospital that the model knows; "

    @property
    def fact(self) -> str:
        """What is said of the images, without advice, as the end of a sentence."""
        return f"{_MEANING[self.answer]} ({self._distance})"

    @property
    def _distance(self) -> str:
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return (
            f"distance {self.source.value:.2f} over {images}; in-distribution up to "
            f"{self.source.in_distribution_max:.2f}, borderline up to {self.source.borderline_max:.2f}"
        )

    def to_json(self) -> str:
        """Return answer and distances as JSON."""
        return json.dumps({"format": 2, "answer": self.answer, "text": self.text, **asdict(self)}, indent=2)


def read_descriptors(
    files: Sequence[Path],
    profile: SiteProfile,
    crop_px: int | None = None,
    progress: Progress = silent,
    images: ImageReader = FILES,
    crop_um: float | None = CELL_CROP_UM,
) -> Descriptors:
    """Return the descriptors of at most `MEASURED_IMAGES` files, at the scale of a profile, float64[N, 24].

    Args:
        files: image files; unreadable ones are left out.
        profile: the profile, which has the scale.
        crop_px: side of the square around a cell in these files, in pixels; None: that of the profile, or an
            estimate (`cell_side_px`).
        progress: called after each image.
        images: reads the files.
        crop_um: side of the square in micrometers, in files that state their scale; None: `crop_px` holds there too.

    Raises:
        InputError: no file is a readable image.
    """
    wanted = [path for path in sorted(files) if path.suffix.lower() in IMAGE_SUFFIXES]
    chosen = [wanted[place] for place in evenly_spaced(len(wanted), MEASURED_IMAGES, ends=True)]
    own = crop_px or profile.crop_px or _estimated_side(chosen, images)
    descriptors: list[Descriptors] = []
    for number, path in enumerate(chosen, 1):
        image = _readable(path, images)
        if image is not None:
            side = side_at(images.scale(path), crop_um, own) or own
            descriptors.append(descriptors_of([CropSpec(side, profile.side_px).cut(image)]))
        progress("measuring the appearance", number, len(chosen))
    if not descriptors:
        raise InputError(f"expected readable images to measure a site's appearance, got none among {len(files)} files")
    return np.concatenate(descriptors)


def answer_for(
    model: Model,
    files: Sequence[Path],
    progress: Progress = silent,
    images: ImageReader = FILES,
) -> SiteAnswer | None:
    """Return the distance of images from the sites of a model; None if the model's file has no profiles.

    `images` reads the files.

    Raises:
        InputError: no file is a readable image.
    """
    by_scale: dict[tuple[CropPx | None, int], Descriptors] = {}  # sites of one training have one scale, as a rule
    measured = []
    for home in model.at_home:
        scale = model.crop_px or home.crop_px, home.side_px
        if scale not in by_scale:
            by_scale[scale] = read_descriptors(files, home, model.crop_px, progress, images, model.crop_um)
        measured.append((home, by_scale[scale]))
    if not measured:
        return None
    descriptors = measured[0][1]
    source = min((home.distance(found) for home, found in measured), key=lambda one: one.value / one.borderline_max)
    target = None if model.profiles is None else model.profiles.target.distance(descriptors)
    if isinstance(model, TranslatorModel) and model.header.is_target_only:
        source = model.distance(read_cells(model, files, images))
    return SiteAnswer(len(descriptors), source, target)


def write_answer(
    model: Model,
    files: Sequence[Path],
    out: Path,
    progress: Progress = silent,
    images: ImageReader = FILES,
) -> SiteAnswer | None:
    """Write the answer to `ANSWER_FILE` in `out`; None without profiles in the model or readable images.

    `images` reads the files.

    Raises:
        ModelError: the model's file is damaged.
    """
    (out / ANSWER_FILE).unlink(missing_ok=True)
    try:
        found = answer_for(model, files, progress, images)
    except InputError:
        return None  # no image can be read; each is reported elsewhere
    if found is not None:
        with atomic_write(out / ANSWER_FILE) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    return found


def _estimated_side(files: Sequence[Path], images: ImageReader) -> int | Literal["whole"]:
    some = [files[place] for place in evenly_spaced(len(files), SCALE_IMAGES)]
    readable = (_readable(path, images) for path in some)
    return cell_side_px(image for image in readable if image is not None) or "whole"


def _readable(path: Path, images: ImageReader) -> UInt8Image | None:
    try:
        return images.read(path)
    except (ImageError, OSError, MemoryError):
        return None
