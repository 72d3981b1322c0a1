"""Re-stain blood-cell images of another hospital so that they look like yours, and measure what that does.

The public API in the order of work: `read_image` and `read_manifest` read images; `fit_normalizer` and
`StainNormalizer` fit a normalizer; `open_model` opens what a command wrote; `read_study` reads what a study found.
`find_cells` and `cut_cell` find the leukocytes of a whole field of a microscope.
Images are RGB, uint8[H, W, 3], 0..255. Tables are polars tables. Every expected error is a `HemabridgeError`
(`hemabridge.errors`). Each name is imported from its module when it is first used, so that `import hemabridge` is quick
and imports no PyTorch.

Example:
    >>> import hemabridge as hb
    >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
    >>> theirs, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["yellow-field"], 1, 64)
    >>> ours, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["clinic-like"], 2, 64)
    >>> restained = hb.fit_normalizer("optical-density", theirs, ours).standardize(theirs)
    >>> restained.shape, restained.dtype
    ((6, 64, 64, 3), dtype('uint8'))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from hemabridge._version import __version__

if TYPE_CHECKING:
    from hemabridge.data.manifest import Manifest, read_manifest
    from hemabridge.errors import HemabridgeError
    from hemabridge.evaluation.results import StudyResults, read_study
    from hemabridge.fields.find_cells import FoundCells, cut_cell, find_cells
    from hemabridge.imaging.files import read_image
    from hemabridge.models.classified import Classification
    from hemabridge.models.model import Model
    from hemabridge.models.open import open_model
    from hemabridge.normalizers.estimator import StainNormalizer
    from hemabridge.normalizers.images import fit_normalizer
    from hemabridge.normalizers.normalizer import Normalizer

__all__ = [
    "Classification",
    "FoundCells",
    "HemabridgeError",
    "Manifest",
    "Model",
    "Normalizer",
    "StainNormalizer",
    "StudyResults",
    "__version__",
    "cut_cell",
    "find_cells",
    "fit_normalizer",
    "open_model",
    "read_image",
    "read_manifest",
    "read_study",
]

_MODULES: Final = {
    "Classification": "hemabridge.models.classified",
    "FoundCells": "hemabridge.fields.find_cells",
    "HemabridgeError": "hemabridge.errors",
    "Manifest": "hemabridge.data.manifest",
    "Model": "hemabridge.models.model",
    "Normalizer": "hemabridge.normalizers.normalizer",
    "StainNormalizer": "hemabridge.normalizers.estimator",
    "StudyResults": "hemabridge.evaluation.results",
    "cut_cell": "hemabridge.fields.find_cells",
    "find_cells": "hemabridge.fields.find_cells",
    "fit_normalizer": "hemabridge.normalizers.images",
    "open_model": "hemabridge.models.open",
    "read_image": "hemabridge.imaging.files",
    "read_manifest": "hemabridge.data.manifest",
    "read_study": "hemabridge.evaluation.results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hemabridge' has no attribute {name!r}; its public names: {', '.join(__all__)}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
