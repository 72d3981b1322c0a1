"""`hemabridge simulate --fields`: writes simulated fields of a microscope, and a table of the objects in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from hemabridge.data.simulate import (
    CLASSES,
    HOSPITALS,
    TARGET,
    FieldSpec,
    PaintedField,
    paint_field,
    photograph_field,
    plan_field,
)
from hemabridge.errors import InputError
from hemabridge.imaging.files import write_image
from hemabridge.storage.files import atomic_write
from hemabridge.workflows.simulate.simulate import TRUTH, claim, find_hospitals

CELLS_FILE: Final = "truth.csv"
"""Table of all objects of all fields, with place and kind."""

FIELDS_FILE: Final = "fields.csv"
"""Table of all fields, with area, scale and numbers of objects."""

_COUNTED: Final = ("red_cell", "platelet", "platelet_clump", "smudge", "debris")


@dataclass(frozen=True)
class FieldSimulation:
    """The result of `simulate_fields`.

    Attributes:
        truths: the table of all objects of each hospital, by name.
        n_fields: number of fields of each hospital.
        n_leukocytes: number of leukocytes in them, with those that the border cuts.
    """

    truths: dict[str, Path]
    n_fields: int
    n_leukocytes: int


def simulate_fields(
    out: Path,
    n_fields: int,
    spec: FieldSpec,
    *,
    hospitals: Sequence[str] = tuple(HOSPITALS),
    progress: Callable[[int, int], None] | None = None,
) -> FieldSimulation:
    """Write `OUT/<hospital>/<field>.png`, and beside them `truth.csv` and `fields.csv`.

    A field has the same name and the same cells in every hospital. `OUT/truth` holds the fields with the target
    hospital's appearance, without sensor noise and JPEG.

    Args:
        out: a new or empty folder, or that of an interrupted call for the same fields, which is resumed.
        n_fields: number of fields.
        spec: the common settings of the fields.
        hospitals: names from `HOSPITALS`.
        progress: called with the number of pictures written and the total number.

    Raises:
        InputError: an unknown name, a number out of range, or `out` holds files of others, or other fields.
    """
    if n_fields < 1:
        raise InputError(f"expected at least one field, got {n_fields}")
    chosen = find_hospitals(hospitals)
    described = {**vars(spec), "prevalence": dict(spec.prevalence), "areas": list(spec.areas)}
    claim(out, {"hospitals": list(hospitals), "n_fields": n_fields, "fields": described})
    sites = [(hospital.name, hospital, True) for hospital in chosen] + [(TRUTH, HOSPITALS[TARGET], False)]
    cells: list[dict[str, object]] = []
    fields: list[dict[str, object]] = []
    for index in range(n_fields):
        field = paint_field(plan_field(spec, index))
        cells += _rows_of_cells(field)
        fields.append(_row_of_field(field))
        for place, (name, hospital, noise) in enumerate(sites, start=1):
            path = out / name / str(fields[-1]["field"])
            if not path.is_file():
                write_image(path, photograph_field(field, hospital, noise=noise))
            if progress is not None:
                progress(index * len(sites) + place, n_fields * len(sites))
    truths = {}
    for name, _, _ in sites:
        truths[name] = out / name / CELLS_FILE
        for file, rows in ((CELLS_FILE, cells), (FIELDS_FILE, fields)):
            with atomic_write(out / name / file) as temporary:
                pl.DataFrame(rows, infer_schema_length=None).write_csv(temporary, float_precision=3)
    return FieldSimulation(truths, n_fields, sum(cell["class"] in CLASSES for cell in cells))


def read_prevalence(text: str) -> Mapping[str, float]:
    """Return the shares in a text such as `neutrophil=60,lymphocyte=30`.

    Raises:
        InputError: it is not such a text.
    """
    found = {}
    for part in text.split(","):
        name, equals, share = part.strip().partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"expected shares such as neutrophil=60,lymphocyte=30; got {text!r}")
    return found


def _rows_of_cells(field: PaintedField) -> list[dict[str, object]]:
    return [
        {
            "field": f"{field.plan.field_id}.png",
            "x": float(one.x),
            "y": float(one.y),
            "diameter_um": float(one.diameter_um),
            "class": one.kind,
            "border": int(one.border),
            "cluster": one.cluster,
            "visible": float(one.visible),
        }
        for one in field.objects
    ]


def _row_of_field(field: PaintedField) -> dict[str, object]:
    kinds = [one.kind for one in field.objects]
    return {
        "field": f"{field.plan.field_id}.png",
        "area": field.plan.area,
        "um_per_px": float(field.plan.spec.um_per_px),
        "leukocytes": sum(kind in CLASSES for kind in kinds),
        **{f"{kind}s" if kind != "debris" else kind: kinds.count(kind) for kind in _COUNTED},
        "vignette": float(field.plan.vignette),
    }
