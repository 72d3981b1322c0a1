"""Simulated hospitals: cells made of geometry, colored by physics, the same cells under each hospital."""

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
