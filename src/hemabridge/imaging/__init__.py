"""Files, colour spaces, compartments of a cell, scale; the Standardizer protocol."""
