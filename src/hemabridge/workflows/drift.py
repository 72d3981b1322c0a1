"""`hemabridge drift`: does a hospital still look as it did when a model was trained? A control chart over folders."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Final

from hemabridge.domain.control_chart import SHEWHART, ewma, ewma_limits, normal_scores
from hemabridge.domain.site_profile import Answer, SiteProfile
from hemabridge.errors import InputError, ModelError
from hemabridge.models import open_model
from hemabridge.models.site_answer import read_descriptors
from hemabridge.progress import Progress, silent
from hemabridge.report.drift_chart import write_chart
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cell

TABLE, CHART = "drift.csv", "drift.png"
_DATE: Final = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")


@dataclass(frozen=True)
class DriftPoint:
    """One folder on the chart.

    Attributes:
        folder: its name.
        date: from its name, as ISO 8601; empty if it has none.
        images: how many were measured.
        distance: from the site that the model re-stains; about 1 is usual.
        answer: whether the folder alone is known, near or unknown.
        score: the distance in standard deviations above usual folders of as many images.
        ewma: the moving average of scores, never below 0.
        limit: above this the moving average alarms.
        alarm: `shewhart` if this folder alone is too far, `ewma` if the last ones together are, both, or empty.
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
    """All points in the order of time."""

    points: tuple[DriftPoint, ...]

    @property
    def alarms(self) -> tuple[DriftPoint, ...]:
        """The points at which the chart alarms."""
        return tuple(point for point in self.points if point.alarm)


def drift(
    model: Path, folders: Sequence[Path], out: Path, *, crop_px: int | None = None, progress: Progress = silent
) -> Drift:
    """Measure how far each folder is from the model's source site; write `TABLE` and `CHART` to `out`.

    The chart is an EWMA (Roberts 1959) with a Shewhart limit beside it (Lucas & Saccucci 1990); see
    `hemabridge.domain.control_chart`. What is usual comes from the model's own file, not from the folders.

    Args:
        model: a normalizer's JSON, or a translator's snapshot.
        folders: of images, with an ISO date in each name or in none, which then stand in the order of time; or one
            folder of such folders.
        out: folder to write to; it is made.
        crop_px: side of the square around a cell in these images; as in training if not given.
        progress: told of each image.

    Raises:
        InputError: a folder is missing, holds no readable image, or some have dates and some have not.
        ModelError: the model's file cannot be used, or holds no site profile.
    """
    profiles = open_model(model).profiles
    if profiles is None:
        raise ModelError(
            f"expected a model that holds the profile of its source site, got one without: {model}; train or fit it "
            "again with 20 or more images of each site"
        )
    ordered = _in_order(folders)
    found = _points(profiles.source, ordered, crop_px, progress)
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


def _points(profile: SiteProfile, folders: Sequence[Path], crop_px: int | None, progress: Progress) -> Drift:
    distances, scores, counts = [], [], []
    for folder in folders:
        descriptors = read_descriptors(
            [path for path in folder.rglob("*") if path.is_file()], profile, crop_px, progress
        )
        distances.append(profile.distance(descriptors))
        scores.append(float(normal_scores(distances[-1].value, profile.usual(len(descriptors)))))
        counts.append(len(descriptors))
    averages, limits = ewma(scores, floor=0.0), ewma_limits(len(scores))
    rows = zip(folders, counts, distances, scores, averages, limits, strict=True)
    return Drift(
        tuple(
            DriftPoint(
                folder=folder.absolute().name,
                date=_date_in(folder.absolute().name),
                images=count,
                distance=round(distance.value, 4),
                answer=distance.answer,
                score=round(score, 4),
                ewma=round(float(average), 4),
                limit=round(float(limit), 4),
                alarm=" ".join(["shewhart"] * (score > SHEWHART) + ["ewma"] * bool(average > limit)),
            )
            for folder, count, distance, score, average, limit in rows
        )
    )


def _in_order(folders: Sequence[Path]) -> list[Path]:
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing or not folders:
        raise InputError(f"expected folders of images, got {missing[0] if missing else 'none'}")
    if len(folders) == 1 and not _date_in(folders[0].absolute().name):
        within = [path for path in folders[0].iterdir() if path.is_dir() and _date_in(path.name)]
        folders = within or folders
    dates = [_date_in(folder.absolute().name) for folder in folders]
    if any(dates) and not all(dates):
        without = next(folder for folder, found in zip(folders, dates, strict=True) if not found)
        raise InputError(
            f"expected a date such as 2026-03-31 in the name of every folder or of none, got {without.name}"
        )
    return [folder for _, folder in sorted(zip(dates, folders, strict=True), key=lambda pair: pair[0])]


def _date_in(name: str) -> str:
    for year, month, day in _DATE.findall(name):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return ""


def _write_table(path: Path, points: Sequence[DriftPoint]) -> None:
    names = [field.name for field in fields(DriftPoint)]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.writer(file)
        table.writerow(names)
        for point in points:
            values = [getattr(point, name) for name in names]
            table.writerow([as_cell(value) if isinstance(value, str) else value for value in values])
