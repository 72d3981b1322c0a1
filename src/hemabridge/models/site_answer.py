"""Is this hospital known? How far a folder of images is from the sites that a model was trained or fitted on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from hemabridge.data.sampling import evenly_spaced
from hemabridge.domain.site_profile import (
    Answer,
    Descriptors,
    Distance,
    SiteProfile,
    cell_side_px,
    descriptors_of,
)
from hemabridge.errors import ImageError, InputError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.model import Model
from hemabridge.models.open import read_cells
from hemabridge.models.restaining import TranslatorModel
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import atomic_write

MEASURED_IMAGES: Final = 200
"""So many images of a folder are measured, spread over all of it."""
SCALE_IMAGES: Final = 40
ANSWER_FILE: Final = "site.json"


@dataclass(frozen=True)
class SiteAnswer:
    """Whether a folder is within the distribution that a model was fitted on.

    Attributes:
        images: how many were measured.
        source: how far the folder is from the site that the model re-stains; of a model for any hospital, from all
            that it has learned from; of a classifier, from the nearest of the sites that it was trained on.
        target: how far it is from the site into whose stain the model re-stains; None of a classifier.
    """

    images: int
    source: Distance
    target: Distance | None

    @property
    def answer(self) -> Answer:
        """Whether the folder is like the site that the model re-stains."""
        return self.source.answer

    @property
    def text(self) -> str:
        """The answer in one plain sentence."""
        target = self.target
        if target is not None and target.answer == "in-distribution" and self.source.answer != "in-distribution":
            return (
                f"these images look like the model's target already (distance {target.value:.2f}, in-distribution "
                f"up to {target.in_distribution_max:.2f}); they may not need to be re-stained"
            )
        meaning = {
            "in-distribution": "like what the model was trained on",
            "borderline": "at the edge of what the model was trained on; check some results by eye",
            "out-of-distribution": "unlike what the model was trained on, in color or in scale; do not trust the "
            "results, or state the crop if cells have another size in these images (--crop-px; `hemabridge audit` "
            "proposes one)",
        }[self.answer]
        return (
            f"{self.answer}: {meaning} (distance {self.source.value:.2f} over {self.images} images; in-distribution up "
            f"to {self.source.in_distribution_max:.2f}, borderline up to {self.source.borderline_max:.2f})"
        )

    def to_json(self) -> str:
        """Return answer and distances as JSON."""
        return json.dumps({"format": 2, "answer": self.answer, "text": self.text, **asdict(self)}, indent=2)


def read_descriptors(
    files: Sequence[Path], profile: SiteProfile, crop_px: int | None = None, progress: Progress = silent
) -> Descriptors:
    """Measure up to `MEASURED_IMAGES` of some files as the profile's cells were measured, float64[N, 24].

    Args:
        files: images; unreadable ones are left out.
        profile: says at which scale.
        crop_px: side of the square around a cell in these files; as in training, or by the nuclei, if not given.
        progress: told of each image.

    Raises:
        InputError: no file is a readable image.
    """
    wanted = [path for path in sorted(files) if path.suffix.lower() in IMAGE_SUFFIXES]
    chosen = [wanted[place] for place in evenly_spaced(len(wanted), MEASURED_IMAGES, ends=True)]
    spec = CropSpec(crop_px or profile.crop_px or _nuclei_say(chosen), profile.side_px)
    descriptors: list[Descriptors] = []
    for number, path in enumerate(chosen, 1):
        image = _read(path)
        if image is not None:
            descriptors.append(descriptors_of([spec.cut(image)]))
        progress("measuring the appearance", number, len(chosen))
    if not descriptors:
        raise InputError(f"expected readable images to measure a site's appearance, got none among {len(files)} files")
    return np.concatenate(descriptors)


def answer_for(model: Model, files: Sequence[Path], progress: Progress = silent) -> SiteAnswer | None:
    """Tell how far images are from the two sites of a model; None if the model's file cannot say.

    Raises:
        InputError: no file is a readable image.
    """
    measured = [(home, read_descriptors(files, home, model.crop_px, progress)) for home in model.at_home]
    if not measured:
        return None
    descriptors = measured[0][1]
    source = min((home.distance(found) for home, found in measured), key=lambda one: one.value / one.borderline_max)
    target = None if model.profiles is None else model.profiles.target.distance(descriptors)
    if isinstance(model, TranslatorModel) and model.header.is_target_only:
        source = model.distance(read_cells(model.crop(), files))
    return SiteAnswer(len(descriptors), source, target)


def write_answer(model: Model, files: Sequence[Path], out: Path, progress: Progress = silent) -> SiteAnswer | None:
    """Write to `ANSWER_FILE` in `out` whether the model knows the site; None if its file or the images cannot say.

    Raises:
        ModelError: the model's file is damaged.
    """
    (out / ANSWER_FILE).unlink(missing_ok=True)
    try:
        found = answer_for(model, files, progress)
    except InputError:
        return None  # no image can be read, which the job says of each
    if found is not None:
        with atomic_write(out / ANSWER_FILE) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    return found


def _nuclei_say(files: Sequence[Path]) -> int | Literal["whole"]:
    some = [files[place] for place in evenly_spaced(len(files), SCALE_IMAGES)]
    images = [image for image in map(_read, some) if image is not None]
    return cell_side_px(images) if images else "whole"


def _read(path: Path) -> UInt8Image | None:
    try:
        return read_image(path)
    except (ImageError, OSError):
        return None
