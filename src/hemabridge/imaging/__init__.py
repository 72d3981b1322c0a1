"""Images: reading and writing files, color spaces, compartments of a cell, scale, and the `Standardizer` protocol."""
