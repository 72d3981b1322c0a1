"""All texts of the readers' pages, in English and in Spanish, from `texts.json`."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "es": "Español"}

_CATALOG: Final[Mapping[str, Any]] = json.loads(files(__package__).joinpath("texts.json").read_text(encoding="utf-8"))
TEXTS: Final[Mapping[str, Mapping[str, str]]] = _CATALOG["texts"]
"""Texts by key, then by language; fields are in braces."""

CELL_TYPES: Final[Mapping[str, Mapping[str, str]]] = _CATALOG["cell_types"]
"""Translated names of known cell types; other types are shown by their class name."""


def text(language: str, key: str, **fields: object) -> str:
    """Return a text of the catalog with its fields filled in.

    >>> text("es", "progress", done=3, total=60)
    '3 de 60'
    """
    return TEXTS[key][language].format(**fields)


def cell_type_name(language: str, name: str) -> str:
    """Return the label of a cell type on a button.

    >>> cell_type_name("en", "reactive_lymphocyte"), cell_type_name("es", "blast")
    ('Reactive lymphocyte', 'Blasto')
    """
    shown = CELL_TYPES.get(name, {}).get(language, name).replace("_", " ")
    return shown[:1].upper() + shown[1:]
