"""The catalog of all normalizers, with advice on when to use each, and their JSON files."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from hemabridge.domain.site_profile import profiles_of
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.density_scaling import DensityScaling
from hemabridge.normalizers.histogram import HistogramMatching
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.normalizer import MAX_JSON_CHARACTERS, CellScale, Normalizer, check_normalizer_format
from hemabridge.normalizers.plausibility import faults_of
from hemabridge.normalizers.reinhard import ReinhardImage, ReinhardSite
from hemabridge.normalizers.reinhard_compartment import ReinhardCompartment
from hemabridge.normalizers.sliced_transport import SlicedTransport
from hemabridge.normalizers.stain_separation import Macenko, Vahadane
from hemabridge.normalizers.table_normalizer import LearnedLut
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.storage.files import expect_json_text


@dataclass(frozen=True)
class Entry:
    """One normalizer of the catalog.

    Attributes:
        kind: its class.
        use: one line on when to use it.
    """

    kind: type[Normalizer]
    use: str


NORMALIZERS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "white-point": Entry(WhitePoint, "the stain is alike and only lamp or white balance differs; the safest"),
        "optical-density": Entry(
            DensityScaling, "the stain is paler or stronger as well; six numbers, hard to break; try it first"
        ),
        "reinhard-image": Entry(
            ReinhardImage, "colors differ from image to image, and every image has a similar composition"
        ),
        "reinhard-site": Entry(ReinhardSite, "one shift for the whole site; keeps differences between its images"),
        "reinhard-compartment": Entry(
            ReinhardCompartment, "nucleus and cytoplasm differ in different ways, and cells are well segmented"
        ),
        "histogram": Entry(HistogramMatching, "tone curves differ, and both sites have similar class proportions"),
        "macenko": Entry(
            Macenko, "the dyes themselves differ in hue and both show clearly; the field's usual baseline"
        ),
        "vahadane": Entry(Vahadane, "as macenko, if dirt or noise disturbs its extreme angles"),
        "linear-ot": Entry(LinearTransport, "channels are mixed differently (camera matrix); twelve numbers, smooth"),
        "sliced-ot": Entry(SlicedTransport, "the shift is not linear, and both sites have similar class proportions"),
    }
)
"""Every normalizer that is fitted on two sites, by its name in recipes and files."""

LEARNED_LUT: Final = "learned-lut"
BY_SUBDOMAIN: Final = "by-subdomain"
_METHODS: Final[Mapping[str, type[Normalizer]]] = MappingProxyType(
    {name: entry.kind for name, entry in NORMALIZERS.items()} | {LEARNED_LUT: LearnedLut, BY_SUBDOMAIN: BySubdomain}
)


def fit_on_cells(name: str, source: UInt8Images, target: UInt8Images, cells: CellScale | None = None) -> Normalizer:
    """Fit one normalizer of the catalog on cropped cells; the public `fit_normalizer` crops them itself.

    The normalizer gets the profiles of both sites if they have enough images, and `faults` if it gives implausible
    colors to the cells of the source.

    Args:
        name: a key of `NORMALIZERS`.
        source: cells of the site to re-stain, uint8[N, H, W, 3] RGB, 0..255.
        target: cells of the site whose colors are wanted, uint8[M, H', W', 3] RGB, at the scale of the source.
        cells: the size of these cells in the files of both sites; the normalizer is then one of photographs, and the
            profiles say at which scale files are measured. None if it is not known.

    Raises:
        InputError: There is no such normalizer.
        ImageError: A set has another type or shape, or is empty.
    """
    check_method(name)
    fitted = NORMALIZERS[name].kind.fit(source, target)
    faults = faults_of(fitted, source, target)
    crops = (None, None) if cells is None else (cells.source_crop_px, cells.target_crop_px)
    sites = profiles_of(source, target, *crops)
    return fitted.model_copy(update={"sites": sites, "faults": faults, "cells": cells})


def check_method(name: str) -> None:
    """Raise InputError, with the most similar name, unless `name` is a key of `NORMALIZERS`."""
    if name not in NORMALIZERS:
        raise InputError(f"normalizer: expected one of {', '.join(NORMALIZERS)}; got {name!r}{_nearest(name)}")


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names) or not set(names) <= NORMALIZERS.keys():
        raise ValueError(f"expected different normalizers of {', '.join(NORMALIZERS)}; got {', '.join(names)}")
    return names


NormalizerNames = Annotated[tuple[str, ...], AfterValidator(_check_names)]
"""Different keys of `NORMALIZERS`, in settings."""


def normalizer_from_json(text: str) -> Normalizer:
    """Read a normalizer of any method from the text that `to_json` wrote; `open_model` opens a file.

    Raises:
        ModelError: It is a path, or the text is not JSON, is too long, has no known method, or does not fit its method.
    """
    expect_json_text(text, "normalizer", "open a file with hemabridge.open_model(path)", ModelError)
    if len(text) > MAX_JSON_CHARACTERS:
        raise ModelError(f"normalizer: expected at most {MAX_JSON_CHARACTERS:,} characters of JSON, got {len(text):,}")
    try:
        method = _Header.model_validate_json(text).method
    except ValidationError as error:
        raise ModelError('normalizer: expected a JSON object with the key "method", as to_json writes it') from error
    check_normalizer_format(text)
    if method not in _METHODS:
        raise ModelError(
            f"normalizer: expected a method of {', '.join(_METHODS)}; got {method[:40]!r}{_nearest(method[:40])}; "
            "if another version of hemabridge wrote it, fit it again: hemabridge fit METHOD SOURCE TARGET OUT"
        )
    return _METHODS[method].from_json(text)


class _Header(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    method: str


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, NORMALIZERS, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
