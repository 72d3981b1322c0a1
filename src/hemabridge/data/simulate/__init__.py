"""Simulated hospitals: the same cells with the stain, lamp, lens and camera of each hospital.

Shapes of cells are drawn as thickness maps (`leukocytes`, `nuclei`, `surroundings`), stained by a model of the dyes
(`stain`) and imaged by a model of lamp, lens and camera (`camera`). `restyle` applies the same models to real images.
`field_plan`, `field_placing` and `field_pictures` describe, fill and photograph whole fields of such cells.
"""

from hemabridge.data.simulate.field_pictures import PaintedField, paint_field, photograph_field
from hemabridge.data.simulate.field_placing import plan_field
from hemabridge.data.simulate.field_plan import FieldSpec
from hemabridge.data.simulate.hospitals import HOSPITALS, TARGET, Hospital, random_hospital
from hemabridge.data.simulate.restyle import measured_reference, photograph
from hemabridge.data.simulate.simulated_cells import CLASSES, Cell, list_cells, render, simulate_cells

__all__ = [
    "CLASSES",
    "HOSPITALS",
    "TARGET",
    "Cell",
    "FieldSpec",
    "Hospital",
    "PaintedField",
    "list_cells",
    "measured_reference",
    "paint_field",
    "photograph",
    "photograph_field",
    "plan_field",
    "random_hospital",
    "render",
    "simulate_cells",
]
