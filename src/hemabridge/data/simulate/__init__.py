"""Simulated hospitals: cells made of geometry, coloured by physics, the same cells under each hospital."""

from hemabridge.data.simulate.cells import CLASSES, Cell, list_cells, render, simulate_cells
from hemabridge.data.simulate.hospitals import HOSPITALS, TARGET, Hospital, random_hospital
from hemabridge.data.simulate.retakes import measured_reference, photograph

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
