"""From a path to a model."""
