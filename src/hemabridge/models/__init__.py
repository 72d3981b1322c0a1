"""Models: `open_model` opens a path as a model that re-stains or classifies.

    model = open_model(path)          # normalizer, translator or classifier; a file, a run folder or a study's folder
    model.standardize(images)         # as `hemabridge standardize` does, to the bit
    model.classify(images)            # as `hemabridge classify` does

A model's file is read and hashed once. Its header is checked when it is opened, and its weights are loaded on first
use.
"""

from hemabridge.models.classified import Classification
from hemabridge.models.model import Model
from hemabridge.models.open import open_model

__all__ = ["Classification", "Model", "open_model"]
