"""The results of an audit, as frozen data."""

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from hemabridge.data.index import UnreadableFile

FORMAT_VERSION = 1

Severity: TypeAlias = Literal["error", "warning", "note"]
"""`error`: results would be wrong; `warning`: check before training; `note`: information."""

Border: TypeAlias = Literal["manifest", "site", "split", "class"]
CompartmentName: TypeAlias = Literal["nucleus", "cytoplasm", "red_cells", "background"]
Triple: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Member:
    """An image of a group of duplicates. `manifest` is 1, or 2 for the second manifest of the audit."""

    manifest: int
    path: str
    site: str
    class_name: str
    split: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same field.

    Attributes:
        kind: `exact` (the same bytes) or `near` (the same cell or field: saved or photographed again, mirrored, turned,
            resized, cropped or shifted).
        members: two images or more.
        crosses: the properties in which the members differ.
        correlation: the lowest one of the pairs that link the group, -1..1; 1 for exact copies.
    """

    kind: Literal["exact", "near"]
    members: tuple[Member, ...]
    crosses: tuple[Border, ...]
    correlation: float


@dataclass(frozen=True)
class SyntheticFile:
    """A synthetic image.

    Attributes:
        member: the image.
        origin: the model that made it, from the column `origin`, or else from the mark in the file.
        in_manifest: whether the column `origin` states it; if not, only the mark does.
    """

    member: Member
    origin: str
    in_manifest: bool


@dataclass(frozen=True)
class ClassCount:
    """Number of images of one class of one site in one part; empty strings for unlabeled and for no split."""

    manifest: int
    site: str
    split: str
    class_name: str
    n: int


@dataclass(frozen=True)
class ColorProfile:
    """Color of one compartment at one site, over images: median and spread of each image's median pixel.

    Attributes:
        n: images in which the compartment was found.
        lab: medians of L (0..100), a and b (about -128..127), D65.
        lab_iqr: interquartile ranges over images, in the same units.
        optical_density: medians of -log10(value / 255) of red, green and blue.
    """

    manifest: int
    site: str
    compartment: CompartmentName
    n: int
    lab: Triple
    lab_iqr: Triple
    optical_density: Triple


@dataclass(frozen=True)
class SiteScale:
    """Size of the cells of one site, measured on a sample.

    Attributes:
        n: images measured.
        n_nuclei: images in which a nucleus was found.
        nucleus_px: quartiles of the nucleus's equivalent diameter in pixels; None where no nucleus was found.
        proposed_crop_px: side of the crop in which cells are as large as at other sites; None if no nucleus was found.
        stated_crop_px: the values of the manifest's column `crop_px`, in pixels.
        smallest_side_px: shorter side of the smallest image in the sample.
    """

    manifest: int
    site: str
    n: int
    n_nuclei: int
    nucleus_px: Triple | None
    proposed_crop_px: int | None
    stated_crop_px: tuple[int, ...]
    smallest_side_px: int


@dataclass(frozen=True)
class Finding:
    """One result of the audit, as a plain sentence."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class Audit:
    """All results of an audit. `findings` states them in sentences, errors first."""

    n_images: int
    unreadable: tuple[UnreadableFile, ...]
    blank: tuple[str, ...]
    duplicates: tuple[DuplicateGroup, ...]
    class_prior: tuple[ClassCount, ...]
    colors: tuple[ColorProfile, ...]
    scales: tuple[SiteScale, ...]
    findings: tuple[Finding, ...]
    synthetic: tuple[SyntheticFile, ...] = ()
    gray: tuple[Member, ...] = ()

    def to_json(self) -> str:
        """Return the audit as JSON."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=2, allow_nan=False)
