"""Recipes: one TOML file says all of a run. Read, checked and explained without PyTorch."""
