"""Re-staining without networks: color maps that are fitted on images of two sites in seconds, and saved as JSON."""

from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells, normalizer_from_json
from hemabridge.normalizers.normalizer import Normalizer

__all__ = ["NORMALIZERS", "Normalizer", "fit_on_cells", "normalizer_from_json"]
