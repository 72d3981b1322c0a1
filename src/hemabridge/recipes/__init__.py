"""Recipes: TOML files with all settings of a run, read and validated without PyTorch."""
