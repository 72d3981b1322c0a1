"""Files, color spaces, compartments of a cell, scale; the Standardizer protocol."""
