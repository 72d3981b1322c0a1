"""Classical re-staining without networks: closed-form color maps fitted on sets of images, saved as JSON."""

from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells, normalizer_from_json
from hemabridge.normalizers.normalizer import Normalizer

__all__ = ["NORMALIZERS", "Normalizer", "fit_on_cells", "normalizer_from_json"]
