"""`hemabridge drift`: a control chart of the appearance of a hospital's images, relative to a model's training."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from hemabridge.data.dates import dates_in
from hemabridge.data.listing import list_images, not_a_folder
from hemabridge.domain.control_chart import SHEWHART, ewma, ewma_limits, normal_scores
from hemabridge.domain.site_profile import Answer, SiteProfile
from hemabridge.errors import InputError, ModelError
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.models import open_model
from hemabridge.models.site_answer import read_descriptors
from hemabridge.progress import Progress, silent
from hemabridge.report.drift_chart import write_chart
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cell

TABLE, CHART = "drift.csv", "drift.png"
_LIKE_A_DATE: Final = re.compile(r"(?<!\d)(\d{6}|\d{8}|\d{1,4}[-_. ]\d{1,2}[-_. ]\d{1,4})(?!\d)")


@dataclass(frozen=True)
class DriftPoint:
    """One folder on the chart.

    Attributes:
        folder: its name.
        date: from its name, as ISO 8601; empty if it has none.
        images: number of images that were measured.
        distance: from the site that the model re-stains; about 1 is typical.
        answer: whether the folder alone is in-distribution, borderline or out-of-distribution.
        score: the distance in standard deviations above that of typical folders with as many images.
        ewma: the moving average of scores, at least 0.
        limit: alarm limit of the moving average.
        alarm: `shewhart` if this folder alone is too far, `ewma` if the moving average is, both, or empty.
    """

    folder: str
    date: str
    images: int
    distance: float
    answer: Answer
    score: float
    ewma: float
    limit: float
    alarm: str


@dataclass(frozen=True)
class Drift:
    """All points in the order of time, and a note on how ambiguous dates were read."""

    points: tuple[DriftPoint, ...]
    guess: str = ""

    @property
    def alarms(self) -> tuple[DriftPoint, ...]:
        """The points with an alarm."""
        return tuple(point for point in self.points if point.alarm)


def drift(
    model: Path, folders: Sequence[Path], out: Path, *, crop_px: int | None = None, progress: Progress = silent
) -> Drift:
    """Measure the distance of each folder from the model's source site; write `TABLE` and `CHART` to `out`.

    The chart is an EWMA (Roberts 1959) with a Shewhart limit beside it (Lucas & Saccucci 1990); see
    `hemabridge.domain.control_chart`. The typical values are those in the model's file, not those of the folders.

    Args:
        model: a normalizer's JSON, or a translator's snapshot.
        folders: of images, with a date in each name (`hemabridge.data.dates`) or in none, which then stand in the
            order of time; or one folder of such folders.
        out: folder to write to; it is made.
        crop_px: side of the square around a cell in these images; as in training if not given.
        progress: told of each image.

    Raises:
        InputError: a folder is missing, holds no readable image, some have dates and some have not, or dates
            are written in several ways.
        ModelError: the model's file cannot be used, or holds no site profile.
    """
    profiles = open_model(model).profiles
    if profiles is None:
        raise ModelError(
            f"expected a model that holds the profile of its source site, got one without: {model}; train or fit it "
            "again with 20 or more images of each site"
        )
    ordered, guess = _in_order(folders)
    found = replace(_points(profiles.source, ordered, crop_px, progress), guess=guess)
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / TABLE, found.points)
    write_chart(
        out / CHART,
        [point.date or point.folder for point in found.points],
        scores=[point.score for point in found.points],
        averages=[point.ewma for point in found.points],
        limits=[point.limit for point in found.points],
        alarms=[bool(point.alarm) for point in found.points],
    )
    return found


def _points(
    profile: SiteProfile, folders: Sequence[tuple[str, Path]], crop_px: int | None, progress: Progress
) -> Drift:
    distances, scores, counts = [], [], []
    for _, folder in folders:
        files = [folder / name for name in list_images(folder).images]
        if not files:
            raise InputError(f"expected readable images in {folder}, got no image; leave the folder out")
        if warning := FieldCheck.of(files).warning(str(folder)):
            progress(warning, 0, 0)
        crop_um = None if crop_px else CELL_CROP_UM
        descriptors = read_descriptors(files, profile, crop_px, progress, crop_um=crop_um)
        distances.append(profile.distance(descriptors))
        scores.append(float(normal_scores(distances[-1].value, profile.usual(len(descriptors)))))
        counts.append(len(descriptors))
    averages, limits = ewma(scores, floor=0.0), ewma_limits(len(scores))
    rows = zip(folders, counts, distances, scores, averages, limits, strict=True)
    return Drift(
        tuple(
            DriftPoint(
                folder=folder.absolute().name,
                date=day,
                images=count,
                distance=round(distance.value, 4),
                answer=distance.answer,
                score=round(score, 4),
                ewma=round(float(average), 4),
                limit=round(float(limit), 4),
                alarm=" ".join(["shewhart"] * (score > SHEWHART) + ["ewma"] * bool(average > limit)),
            )
            for (day, folder), count, distance, score, average, limit in rows
        )
    )


def _in_order(folders: Sequence[Path]) -> tuple[list[tuple[str, Path]], str]:
    """Return the ISO date (or empty) and path of each folder in the order of time, and a note on ambiguous dates."""
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing or not folders:
        raise InputError(f"expected folders of images, got {not_a_folder(missing[0]) if missing else 'none'}")
    if len(folders) == 1 and not _has_dates([folders[0].absolute().name]):
        folders = _within(folders[0])
    found = dates_in([folder.absolute().name for folder in folders])
    dates = ["" if day is None else day.isoformat() for day in found.dates]
    without = [folder.absolute().name for folder, day in zip(folders, dates, strict=True) if not day]
    unclear = [name for name in without if _LIKE_A_DATE.search(name)]
    if unclear or (without and any(dates)):
        raise InputError(
            "expected a date such as 2026-03-31 in the name of every folder or of none, got "
            f"{(unclear or without)[0]}; rename it, or leave it out by a name that begins with _"
        )
    return sorted(zip(dates, folders, strict=True), key=lambda pair: pair[0]), found.guess


def _within(folder: Path) -> list[Path]:
    """Return the folders in one folder if at least one has a date, or numbers like one, else the folder itself.

    Raises:
        InputError: there are images beside the dated folders.
    """
    listing = list_images(folder)
    names = [name for name in listing.folders if "/" not in name]
    if not _has_dates(names) and not any(_LIKE_A_DATE.search(name) for name in names):
        return [folder]
    loose = [name for name in listing.images if "/" not in name]
    if loose:
        raise InputError(
            f"expected all images of {folder} in its dated folders, got {len(loose)} beside them, such as {loose[0]}; "
            "move them into one"
        )
    return [folder / name for name in names]


def _has_dates(names: Sequence[str]) -> bool:
    return any(day is not None for day in dates_in(names).dates)


def _write_table(path: Path, points: Sequence[DriftPoint]) -> None:
    names = [field.name for field in fields(DriftPoint)]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.writer(file)
        table.writerow(names)
        for point in points:
            values = [getattr(point, name) for name in names]
            table.writerow([as_cell(value) if isinstance(value, str) else value for value in values])
