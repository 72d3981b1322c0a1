"""Models: from a path to something that re-stains or classifies.

    model = open_model(path)          # normalizer, translator, classifier; a file, a run folder or a study's folder
    model.standardize(images)         # as `hemabridge standardize` does, to the bit
    model.classify(images)            # as `hemabridge classify` does

A model's file is read and hashed once; its header is checked at once, and its weights are loaded when they are needed.
"""

from hemabridge.models.model import Classification, Model
from hemabridge.models.open import open_model

__all__ = ["Classification", "Model", "open_model"]
