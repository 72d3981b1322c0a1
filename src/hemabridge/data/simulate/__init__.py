"""Simulated hospitals: cells made of geometry, coloured by physics, the same cells under each hospital."""

from hemabridge.data.simulate.cells import CLASSES, Cell, list_cells, render, simulate_cells
from hemabridge.data.simulate.hospitals import HOSPITALS, TARGET, Hospital
from hemabridge.data.simulate.retakes import photograph

__all__ = ["CLASSES", "HOSPITALS", "TARGET", "Cell", "Hospital", "list_cells", "photograph", "render", "simulate_cells"]
