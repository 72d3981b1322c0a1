"""Models that name the cell."""
