"""Re-staining models that are trained: objectives, settings, presets, and their use as a Standardizer."""
