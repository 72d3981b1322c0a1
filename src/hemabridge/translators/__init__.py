"""Models that re-stain images."""
