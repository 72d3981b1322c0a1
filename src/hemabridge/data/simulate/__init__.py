"""Simulated hospitals: the same cells with the stain, lamp, lens and camera of each hospital.

Shapes of cells are drawn as thickness maps (`leukocytes`, `nuclei`, `surroundings`), stained by a model of the dyes
(`stain`) and imaged by a model of lamp, lens and camera (`camera`). `restyle` applies the same models to real images.
"""

from hemabridge.data.simulate.hospitals import HOSPITALS, TARGET, Hospital, random_hospital
from hemabridge.data.simulate.restyle import measured_reference, photograph
from hemabridge.data.simulate.simulated_cells import CLASSES, Cell, list_cells, render, simulate_cells

__all__ = [
    "CLASSES",
    "HOSPITALS",
    "TARGET",
    "Cell",
    "Hospital",
    "list_cells",
    "measured_reference",
    "photograph",
    "random_hospital",
    "render",
    "simulate_cells",
]
